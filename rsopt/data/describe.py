"""Describes a data set as plain data: counts, classes, what its captions and images will do to scores, and all problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.data.check import check
from rsopt.data.images import inspect_images
from rsopt.data.read import find
from rsopt.data.records import SPLITS, Sample
from rsopt.data.statistics import caption_statistics


def describe(path_or_id: str | Path, on_done: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Return counts, statistics and all problems of a data set; calls `on_done(images decoded, total)`.

    Captions are counted over all images that are listed with a known split, also where the image is missing or broken.
    Raises UserError only if there is no data set.
    """
    checked = check(find(path_or_id))
    data, findings = checked.data, checked.findings
    total = len(data.samples)
    inspection = inspect_images(data.samples, (lambda done: on_done(done, total)) if on_done else None)
    for image_id, reason in inspection.broken.items():
        findings.add("broken_image", f"{image_id} ({reason})")
    for pair in inspection.same:
        findings.add("same_picture", pair)
    listed = data.samples + checked.without_file
    absent = {s.image_id for s in checked.without_file} | set(inspection.broken)
    scenes: dict[str, list[Sample]] = {}
    for sample in listed:
        if sample.scene:
            scenes.setdefault(sample.scene, []).append(sample)
    statistics = caption_statistics(listed, CAPTION_TOKENS)
    return {
        "name": data.name,
        "format": data.format,
        "splits": {
            split: _counts([s for s in listed if s.split == split], absent) | statistics["splits"][split] for split in SPLITS
        },
        "val_and_test_differ": statistics["val_and_test_differ"],
        "class_source": data.class_source,
        "classes": {scene: _counts(scenes[scene], absent) for scene in sorted(scenes)},
        "without_class": sum(s.scene is None for s in listed),
        "without_image": len(absent),
        "distinct_per_image": _sorted(Counter(len(s.captions) for s in listed)),
        "words": statistics["words"],
        "unusual": statistics["unusual"],
        "image_sizes": inspection.sizes,
        "near_identical": {
            "across_splits": inspection.near_across,
            "within_a_split": inspection.near_within,
            "across": inspection.near,
        },
        "changes": dict(data.changes),
        "problems": [problem.to_json() for problem in findings.problems()],
    }


def _counts(samples: Sequence[Sample], absent: set[str]) -> dict[str, Any]:
    captions = [c for s in samples for c in s.captions]
    return {
        "listed": len(samples),
        "images": sum(s.image_id not in absent for s in samples),
        "captions": sum(c.count for c in captions),
        "distinct": len({c.text for c in captions}),
    }


def _sorted(counts: Counter[int]) -> dict[str, int]:
    return {str(n): counts[n] for n in sorted(counts)}
