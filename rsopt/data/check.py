"""Turns a listing into checked samples: cleans captions, looks for image files, compares splits."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from rsopt.data.clean import clean_captions
from rsopt.data.formats.listing import IMAGE_SUFFIXES, SPLIT_NAMES, Listing, Row, is_inside, split_of
from rsopt.data.problems import Findings
from rsopt.data.records import SPLITS, CaptionData, Sample

_KEEP_FIRST = ("test", "val", "train")  # an image in two splits stays in the one that is scored


def check(listing: Listing) -> tuple[CaptionData, Findings]:
    """Return the usable samples of a listing in file order, and all its problems. Does not decode images.

    An image in two splits is kept only in the later of train, val, test.
    """
    findings, changes = Findings(), Counter[str]()
    files = _files(listing.images)
    merged = _merge(listing, findings)
    splits: dict[str, set[str]] = {}
    for row in merged:
        splits.setdefault(row.filename, set()).add(row.split)
    id_of = _identify(merged)
    samples = []
    for row in merged:
        image_id = id_of[row.filename]
        captions = clean_captions(row.texts, changes)
        for _ in range(len(row.texts) - sum(c.count for c in captions)):
            findings.add("empty_caption", image_id)
        if row.data is None and _at(row) not in files and not _is_file(listing.images, row):
            findings.add("missing_image", image_id)
        elif not captions:
            findings.add("no_caption", image_id)
        elif row.split != next(s for s in _KEEP_FIRST if s in splits[row.filename]):
            findings.add("two_splits", f"{image_id} ({' and '.join(s for s in SPLITS if s in splits[row.filename])})")
        else:
            path = None if row.data is not None or listing.images is None else listing.images / _at(row)
            samples.append(Sample(image_id, row.split, captions, row.scene, path, row.data))
    for split in SPLITS:
        if not any(s.split == split for s in samples):
            findings.add("empty_split", split)
    for name in sorted(files - {_at(row) for row in listing.rows}):
        if Path(name).suffix.lower() in IMAGE_SUFFIXES:
            findings.add("unused_file", name)
    return CaptionData(listing.name, listing.format, tuple(samples), dict(+changes)), findings


def _merge(listing: Listing, findings: Findings) -> list[Row]:
    """Rows with a known split and a safe name; rows of the same image and split are merged, with all their captions."""
    merged: dict[tuple[str, str], Row] = {}
    one_caption_rows = listing.format == "huggingface"  # an image may have one row for each caption
    for row in listing.rows:
        split = split_of(row.split)
        if not is_inside(row.filename):
            findings.add("unsafe_path", row.filename)
        elif split is None:
            findings.add("unknown_split", f"{row.filename} ('{row.split}'; known: {', '.join(SPLIT_NAMES)})")
        elif (earlier := merged.get((row.filename, split))) is None:
            merged[row.filename, split] = Row(row.filename, split, row.texts, row.scene, row.data)
        else:
            if not (one_caption_rows and len(row.texts) == 1):
                findings.add("listed_twice", row.filename)
            merged[row.filename, split] = Row(row.filename, split, earlier.texts + row.texts, row.scene, earlier.data)
    return list(merged.values())


def _identify(rows: list[Row]) -> dict[str, str]:
    """Image ids by listed name: the file name, or the path if two files have the same name."""
    paths: dict[str, set[str]] = {}
    for row in rows:
        paths.setdefault(row.name, set()).add(row.filename)
    return {row.filename: row.name if len(paths[row.name]) == 1 else row.filename for row in rows}


def _files(folder: Path | None) -> set[str]:
    """Relative paths, with `/`, of the files below `folder`. One walk is faster than a look-up for each image."""
    if folder is None:
        return set()
    paths: set[str] = set()
    for parent, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        below = Path(parent).relative_to(folder).as_posix()
        paths.update(name if below == "." else f"{below}/{name}" for name in files if not name.startswith("."))
    return paths


def _is_file(folder: Path | None, row: Row) -> bool:
    """Whether the image exists where the walk does not see it: in linked folders, or with other upper and lower case."""
    return folder is not None and (folder / _at(row)).is_file()


def _at(row: Row) -> str:
    return Path(row.filename.replace("\\", "/")).as_posix()
