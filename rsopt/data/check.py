"""Turns a listing into checked samples: cleans captions, looks for image files, compares splits."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from rsopt.data.classes import find_classes
from rsopt.data.clean import clean_captions
from rsopt.data.formats.listing import IMAGE_SUFFIXES, SPLIT_NAMES, Listing, Row, is_file, is_inside, split_of
from rsopt.data.problems import Findings
from rsopt.data.records import SPLITS, CaptionData, Sample

_KEEP_FIRST = ("test", "val", "train")  # an image in two splits stays in the one that is scored


@dataclass(frozen=True, slots=True)
class Checked:
    """A listing after all checks: usable samples, samples that lack only their image file, and all problems."""

    data: CaptionData
    without_file: tuple[Sample, ...]
    findings: Findings


def check(listing: Listing) -> Checked:
    """Return the samples of a listing in file order, and its problems. Does not decode images.

    An image in two splits is kept only in the later of train, val, test.
    """
    findings, changes = Findings(), Counter[str]()
    for place in listing.bad_entries:
        findings.add("bad_entry", place)
    files = _files(listing)
    merged = _merge(listing, findings)
    splits: dict[str, set[str]] = {}
    for row in merged:
        splits.setdefault(row.filename, set()).add(row.split)
    id_of = _identify(merged)
    classes = find_classes(listing)
    for name in classes.twice:
        findings.add("two_classes", name)
    samples, without_file = [], []
    for row in merged:
        image_id = id_of[row.filename]
        captions = clean_captions(row.texts, changes)
        for place in row.faults:
            findings.add("bad_caption", f"{image_id} ({place})")
        for _ in range(len(row.texts) - sum(c.count for c in captions)):
            findings.add("empty_caption", image_id)
        is_kept = row.split == next(s for s in _KEEP_FIRST if s in splits[row.filename])
        path = None if row.data is not None else listing.images / _at(row)
        sample = Sample(image_id, row.split, captions, classes.scene(row.filename), path, row.data)
        # The walk sees no linked folders, and no names in other upper and lower case.
        if path is not None and _at(row) not in files and not is_file(path):
            findings.add("missing_image", image_id)
            if captions and is_kept:
                without_file.append(sample)
        elif not captions:
            findings.add("no_caption", image_id)
        elif not is_kept:
            findings.add("two_splits", f"{image_id} ({' and '.join(s for s in SPLITS if s in splits[row.filename])})")
        else:
            samples.append(sample)
    for split in SPLITS:
        if not any(s.split == split for s in samples):
            findings.add("empty_split", split)
    for name in sorted(files - {_at(row) for row in listing.rows}):
        if Path(name).suffix.lower() in IMAGE_SUFFIXES:
            findings.add("unused_file", name)
    source = classes.source([row.filename for row in merged])
    data = CaptionData(listing.name, listing.format, tuple(samples), dict(+changes), class_source=source)
    return Checked(data, tuple(without_file), findings)


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
            merged[row.filename, split] = replace(row, split=split)
        else:
            if not (one_caption_rows and len(row.texts) + len(row.faults) == 1):
                findings.add("listed_twice", row.filename)
            together = replace(earlier, texts=earlier.texts + row.texts, faults=earlier.faults + row.faults)
            merged[row.filename, split] = together
    return list(merged.values())


def _identify(rows: list[Row]) -> dict[str, str]:
    """Image ids by listed name: the file name, or the path if two files have the same name."""
    paths: dict[str, set[str]] = {}
    for row in rows:
        paths.setdefault(row.name, set()).add(row.filename)
    return {row.filename: row.name if len(paths[row.name]) == 1 else row.filename for row in rows}


def _files(listing: Listing) -> set[str]:
    """Relative paths, with `/`, of the files below the image folder. One walk is faster than a look-up for each image."""
    if all(row.data is not None for row in listing.rows):
        return set()
    folder = listing.images
    paths: set[str] = set()
    for parent, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        below = Path(parent).relative_to(folder).as_posix()
        paths.update(name if below == "." else f"{below}/{name}" for name in files if not name.startswith("."))
    return paths


def _at(row: Row) -> str:
    return Path(row.filename.replace("\\", "/")).as_posix()
