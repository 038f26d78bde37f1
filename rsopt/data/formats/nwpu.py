"""Reads NWPU-Captions: a JSON of {class: [{filename, split, raw, raw_1, ...}]} beside images in class folders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.common.text import printable
from rsopt.data.formats.listing import Fault, Listing, Row, image_folder, separate, text_or_fault

_RAW = re.compile(r"raw(_\d{1,9})?")


def is_nwpu(content: Any) -> bool:
    """Whether parsed JSON has this format: every value is a list, and most of their entries have a file name and `raw`."""
    if not isinstance(content, dict) or not all(isinstance(entries, list) for entries in content.values()):
        return False
    entries = [entry for of_class in content.values() for entry in of_class]
    return 2 * sum(map(_is_entry, entries)) > len(entries)


def read_nwpu(file: Path, content: dict[str, list[Any]]) -> Listing:
    """Return the listing in `content`, which was read from `file`; the class is the scene."""
    rows, bad = separate(_row(scene, number, e) for scene, entries in content.items() for number, e in enumerate(entries))
    folder = image_folder(file.parent, [row.filename for row in rows])
    # Some copies keep all images in one folder; then the path has no class.
    if not any((folder / row.filename).is_file() for row in rows[:64]):
        flat = image_folder(file.parent, [row.name for row in rows])
        if any((flat / row.name).is_file() for row in rows[:64]):
            rows, folder = tuple(replace(row, filename=row.name) for row in rows), flat
    return Listing(printable(file.stem.removeprefix("dataset_")), "nwpu", rows, folder, file.parent, bad)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("filename"), str) and any(map(_RAW.fullmatch, entry))


def _row(scene: str, number: int, entry: Any) -> Row | Fault:
    place = f"{scene}[{number}]"
    if not isinstance(entry, dict) or "filename" not in entry:
        return Fault(f"{place} has no `filename`")
    filename = text_or_fault(f"{place}.filename", entry["filename"])
    split = text_or_fault(f"{place}.split", entry.get("split", ""))
    for value in (text_or_fault("the class", scene), filename, split):
        if isinstance(value, Fault):
            return value
    filename = str(filename)
    keys = sorted((k for k in entry if _RAW.fullmatch(k)), key=lambda k: int(k.partition("_")[2] or 0))
    texts, faults = separate(text_or_fault(f"{place}.{key}", entry[key]) for key in keys)
    inside = filename if filename.replace("\\", "/").startswith(f"{scene}/") else f"{scene}/{filename}"
    return Row(inside, str(split), texts, scene, faults=faults)
