"""Reads NWPU-Captions: a JSON of {class: [{filename, split, raw, raw_1, ...}]} beside images in class folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rsopt.data.formats.listing import Listing, Row, image_folder
from rsopt.errors import UserError

_RAW = re.compile(r"raw(_\d+)?")


def is_nwpu(content: Any) -> bool:
    """Whether parsed JSON has this format: every value is a list of entries with a filename."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(entries, list) and all(map(_is_entry, entries)) for entries in content.values())
        and any(content.values())
    )


def read_nwpu(file: Path, content: dict[str, list[dict[str, Any]]]) -> Listing:
    """Return the listing in `content`, which was read from `file`; the class is the scene."""
    rows = [_row(file, scene, number, e) for scene, entries in content.items() for number, e in enumerate(entries)]
    folder = image_folder(file.parent, [row.filename for row in rows])
    # Some copies keep all images in one folder; then the path has no class.
    if not any((folder / row.filename).is_file() for row in rows[:64]):
        flat = image_folder(file.parent, [row.name for row in rows])
        if any((flat / row.name).is_file() for row in rows[:64]):
            return Listing(_name(file), "nwpu", tuple(Row(r.name, r.split, r.texts, r.scene) for r in rows), flat)
    return Listing(_name(file), "nwpu", tuple(rows), folder)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("filename"), str)


def _name(file: Path) -> str:
    return file.stem.removeprefix("dataset_")


def _row(file: Path, scene: str, number: int, entry: dict[str, Any]) -> Row:
    keys = sorted((k for k in entry if _RAW.fullmatch(k)), key=lambda k: int(k.partition("_")[2] or 0))
    if odd := [k for k in keys if not isinstance(entry[k], str)]:
        raise UserError(f"{file}: {scene}[{number}] ({entry['filename']}): `{odd[0]}` is not text")
    filename = entry["filename"]
    inside = filename if filename.replace("\\", "/").startswith(f"{scene}/") else f"{scene}/{filename}"
    return Row(inside, str(entry.get("split", "")), tuple(entry[k] for k in keys), scene)
