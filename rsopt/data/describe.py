"""Describes a data set: counts, sizes and problems, as plain data and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsopt.data.check import check
from rsopt.data.clean import RULES
from rsopt.data.images import inspect_images
from rsopt.data.problems import KINDS, REFUSED
from rsopt.data.read import find
from rsopt.data.records import SPLITS, Sample


def describe(path_or_id: str | Path, on_done: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Return counts, caption lengths, image sizes and all problems of a data set; calls `on_done(images decoded, total)`.

    Raises UserError only if there is no data set. Words are separated by spaces, without periods; lengths are of distinct
    captions.
    """
    checked = check(find(path_or_id))
    data, findings = checked.data, checked.findings
    total = len(data.samples)
    inspection = inspect_images(data.samples, (lambda done: on_done(done, total)) if on_done else None)
    for image_id, reason in inspection.broken.items():
        findings.add("broken_image", f"{image_id} ({reason})")
    for pair in inspection.same:
        findings.add("same_picture", pair)
    samples = [s for s in data.samples if s.image_id not in inspection.broken]
    scenes: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.scene:
            scenes.setdefault(sample.scene, []).append(sample)
    return {
        "name": data.name,
        "format": data.format,
        "splits": {split: _counts([s for s in samples if s.split == split]) for split in SPLITS},
        "classes": {scene: _counts(scenes[scene]) for scene in sorted(scenes)},
        "without_class": sum(s.scene is None for s in samples),
        "distinct_per_image": _sorted(Counter(len(s.captions) for s in samples)),
        "words": _words(samples),
        "image_sizes": inspection.sizes,
        "changes": dict(data.changes),
        "problems": [problem.to_json() for problem in findings.problems()],
    }


def print_description(description: dict[str, Any], console: Console) -> None:
    """Print the result of `describe` as tables."""
    console.print(f"[bold]{escape(description['name'])}[/bold] ({description['format']})", highlight=False)
    table = Table("", *(f"{h}" for h in ("images", "captions", "distinct")), title="splits and scene classes")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in description["splits"].items():
        table.add_row(name, *map(str, counts.values()), style="bold")
    for name, counts in description["classes"].items():
        table.add_row(escape(name), *map(str, counts.values()))
    if description["without_class"]:
        table.add_row("(no class in the name)", str(description["without_class"]), "", "")
    console.print(table)
    words = description["words"]
    if words:
        console.print(
            f"words a caption: mean {words['mean']:.1f}, sd {words['sd']:.1f}, 95th percentile {words['p95']:.0f}, "
            f"longest {words['longest']}; vocabulary {words['vocabulary']}",
            highlight=False,
        )
    shares = ", ".join(f"{n}: {images}" for n, images in description["distinct_per_image"].items())
    console.print(f"images by number of distinct captions: {shares}", highlight=False)
    sizes = list(description["image_sizes"].items())
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    console.print(f"image sizes: {', '.join(f'{s} ({n})' for s, n in sizes[:5])}{more}", highlight=False)
    for rule, count in description["changes"].items():
        meaning = RULES.get(rule, "captions repeated in an image, kept as weights")
        console.print(f"cleaned: {count} x {rule} ({meaning})", highlight=False, markup=False)
    _print_problems(description["problems"], console)


def _print_problems(problems: Sequence[dict[str, Any]], console: Console) -> None:
    if not problems:
        console.print("no problems found", style="green")
        return
    table = Table("problem", "count", "first names", "", title="problems")
    for problem in problems:
        fate = "refused without --skip-bad" if problem["kind"] in REFUSED else "reported"
        fate = "refused" if problem["kind"] == "empty_split" else fate
        table.add_row(KINDS[problem["kind"]], str(problem["count"]), escape("\n".join(problem["examples"])), fate)
    console.print(table)


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    captions = [c for s in samples for c in s.captions]
    return {"images": len(samples), "captions": sum(c.count for c in captions), "distinct": len({c.text for c in captions})}


def _words(samples: Sequence[Sample]) -> dict[str, float]:
    texts = {c.text for s in samples for c in s.captions}
    words = [[w for w in text.split() if w != "."] for text in texts]
    if not words:
        return {}
    lengths = np.array([len(w) for w in words])
    return {
        "mean": float(lengths.mean()),
        "sd": float(lengths.std()),
        "p95": float(np.quantile(lengths, 0.95)),
        "longest": int(lengths.max()),
        "vocabulary": len({w for one in words for w in one}),
    }


def _sorted(counts: Counter[int]) -> dict[str, int]:
    return {str(n): counts[n] for n in sorted(counts)}
