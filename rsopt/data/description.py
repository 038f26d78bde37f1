"""Prints what `describe` found as tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsopt.data.classes import CLASSES_FILE
from rsopt.data.clean import RULES
from rsopt.data.problems import KINDS, REFUSED

_NAMED = 5
_UNUSUAL = {
    "garbled": "garbled (one stretch of text eight times in a row; left out of training)",
    "too_long": "longer than {limit} tokens of tiny (another base counts its own; cut in training)",
    "outliers": "more than three times as long as 95 % of the captions",
}


def print_description(description: Mapping[str, Any], console: Console) -> None:
    """Print the result of `describe`."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, highlight=False, markup=False, style=style, soft_wrap=True)

    console.print(f"[bold]{escape(description['name'])}[/bold] ({description['format']})", highlight=False)
    console.print(_splits(description))
    if description["classes"]:
        console.print(_classes(description))
    say(_class_source(description))
    if absent := description["without_image"]:
        say(f"{absent} listed images are missing or broken; their captions are counted here")
    if sentence := description["val_and_test_differ"]:
        say(sentence, "bold")
    if words := description["words"]:
        say(
            f"words a caption: mean {words['mean']:.1f}, sd {words['sd']:.1f}, 95th percentile {words['p95']:.0f}, "
            f"longest {words['longest']}; vocabulary {words['vocabulary']}"
        )
    _say_unusual(description["unusual"], say)
    shares = ", ".join(f"{n}: {images}" for n, images in description["distinct_per_image"].items())
    say(f"images by number of distinct captions: {shares}")
    sizes = list(description["image_sizes"].items())
    if sizes:
        more = f" and {len(sizes) - _NAMED} other sizes" if len(sizes) > _NAMED else ""
        say(f"image sizes: {', '.join(f'{s} ({n})' for s, n in sizes[:_NAMED])}{more}")
        say(_near_identical(description["near_identical"]))
    for rule, count in description["changes"].items():
        meaning = RULES.get(rule, "captions repeated in an image, kept as weights")
        say(f"cleaned: {count} x {rule} ({meaning})")
    _print_problems(description["problems"], console)


def _splits(description: Mapping[str, Any]) -> Table:
    counts = _counts(description)
    table = _table("splits", *counts, "distinct an image", "also in training", "words not in training")
    for name, split in description["splits"].items():
        distinct = "" if split["distinct_an_image"] is None else f"{split['distinct_an_image']:.2f}"
        percents = [
            "" if name == "train" or split[k] is None else f"{100 * split[k]:.1f} %" for k in ("in_training", "unknown_words")
        ]
        table.add_row(name, *(str(split[c]) for c in counts), distinct, *percents)
    return table


def _classes(description: Mapping[str, Any]) -> Table:
    counts = _counts(description)
    table = _table("scene classes", *counts)
    for name, scene in description["classes"].items():
        table.add_row(escape(name), *(str(scene[c]) for c in counts))
    if description["without_class"]:
        table.add_row("(no class)", str(description["without_class"]))
    return table


def _counts(description: Mapping[str, Any]) -> list[str]:
    listed = ["listed"] if description["without_image"] else []
    return [*listed, "images", "captions", "distinct"]


def _table(title: str, *columns: str) -> Table:
    """A table of a name and numbers, narrow enough for 80 columns."""
    table = Table("", title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _class_source(description: Mapping[str, Any]) -> str:
    if source := description["class_source"]:
        return f"classes: {len(description['classes'])}, from {source}"
    return (
        "classes: none known, so the blind baseline (one caption for all images) is a weak one; "
        f"name them in {CLASSES_FILE} beside the listing: {{file name: class}}"
    )


def _say_unusual(unusual: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if not unusual["captions"]:
        return
    say(f"unusual captions: {unusual['captions']} ({100 * unusual['share']:.2f} %)")
    for kind, meaning in _UNUSUAL.items():
        if captions := unusual[kind]:
            names = ", ".join(map(_named, captions[:_NAMED])) + (", ..." if len(captions) > _NAMED else "")
            say(f"  {len(captions)} {meaning.format(limit=unusual['limit_tokens'])}: {names}")


def _named(caption: Mapping[str, Any]) -> str:
    lengths = [f"{caption[of]} {of}" for of in ("words", "characters", "tokens") if caption[of] is not None]
    return f"{caption['image']} ({', '.join([caption['split'], *lengths])})"


def _near_identical(near: Mapping[str, Any]) -> str:
    pairs, across = near["across"], near["across_splits"]
    named = f" ({', '.join(pairs[:_NAMED])}{', ...' if across > _NAMED else ''})" if pairs else ""
    return f"near-identical images: {across} pairs across splits{named}, {near['within_a_split']} within a split"


def _print_problems(problems: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not problems:
        console.print("no problems found", style="green")
        return
    table = Table("problem", "count", "first names", "", title="problems")
    for problem in problems:
        fate = "refused without --skip-bad" if problem["kind"] in REFUSED else "reported"
        fate = "refused" if problem["kind"] == "empty_split" else fate
        table.add_row(KINDS[problem["kind"]], str(problem["count"]), escape("\n".join(problem["examples"])), fate)
    console.print(table)
