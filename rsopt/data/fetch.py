"""Fetches a data set from the hub and writes it in RSICD's layout, with images as files. Can be interrupted and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsopt.common.atomic_files import replacing
from rsopt.common.text import shown
from rsopt.data.formats.hub import cached_parquet
from rsopt.data.formats.huggingface import count_rows, is_hugging_face, rows_of
from rsopt.data.formats.listing import Fault, Row, is_inside, split_of
from rsopt.errors import UserError

SOURCES = {"rsicd": "arampacha/rsicd"}
WARNING = (
    "The hub's RSICD holds back-translated captions, which differ from the official dataset_rsicd.json: "
    "scores on it do not compare with those in papers."
)
_IMAGES = "RSICD_images"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a call wrote: images in all, images written now, and the rows and captions that `skip_bad` left out."""

    images: int
    written: int
    left_out: tuple[str, ...]


def fetch(
    name: str,
    folder: Path,
    source: str | None = None,
    on_done: Callable[[int, int, int], None] | None = None,
    skip_bad: bool = False,
) -> Fetched:
    """Write a data set into `folder`: `RSICD_images/` and, last, `dataset_rsicd.json`.

    Images that an interrupted call wrote are not written again. Raises UserError if the source is missing, not in the hub's
    form, or has a row that cannot be read.

    Args:
        name: a key of SOURCES.
        folder: to write to.
        source: hub id, or folder of parquet files in the hub's form; None takes SOURCES.
        on_done: is called with (image number, total, written now).
        skip_bad: leaves out rows and captions that cannot be read.
    """
    if name not in SOURCES:
        raise UserError(f"unknown data set '{name}'; known: {', '.join(SOURCES)}")
    origin = source or SOURCES[name]
    listing = folder / f"dataset_{name}.json"
    if listing.exists():
        raise UserError(f"{listing} is already there, so the set is complete. Remove it to fetch again")
    parquet = Path(origin) if Path(origin).is_dir() else cached_parquet(origin, progress=True)
    if not is_hugging_face(parquet):
        raise UserError(f"{origin}: holds no parquet file")
    images, total = folder / _IMAGES, count_rows(parquet)
    images.mkdir(parents=True, exist_ok=True)
    # Image bytes are not kept in memory. A row may hold one of several captions.
    texts_of: dict[tuple[str, str], list[str]] = {}
    written = 0
    left_out: list[str] = []
    for number, row in enumerate(rows_of(parquet), start=1):
        faults = [row.reason] if isinstance(row, Fault) else [*_faults(row), *row.faults]
        if faults and not skip_bad:
            raise UserError(f"{origin}: {shown(faults[0])}. Leave it out with --skip-bad")
        left_out += map(shown, faults)
        if isinstance(row, Row) and not _faults(row):
            written += _write(images, row)
            texts_of.setdefault((row.filename, split_of(row.split) or row.split), []).extend(row.texts)
        if on_done:
            on_done(number, total, written)
    for partial in images.glob(".*.part"):  # of a call that was killed
        partial.unlink()
    entries = [_entry(n, filename, split, texts) for n, ((filename, split), texts) in enumerate(texts_of.items())]
    with replacing(listing) as aside:
        aside.write_text(json.dumps({"images": entries, "dataset": f"{name} of {origin}"}), encoding="utf-8")
    return Fetched(len(entries), written, tuple(left_out))


def _faults(row: Row) -> list[str]:
    """Why the row's image cannot be written; empty if it can."""
    if row.data is None:
        return [f"{row.filename} has no image bytes"]
    return [] if is_inside(row.filename) else [f"file name '{row.filename}' leaves the image folder"]


def _write(folder: Path, row: Row) -> bool:
    """Write one image unless its file is complete; returns whether it was written."""
    assert row.data is not None
    target = folder / row.filename
    if target.is_file() and target.stat().st_size == len(row.data):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name, so that the next call overwrites the file of an interrupted one.
    aside = target.with_name(f".{target.name}.part")
    aside.write_bytes(row.data)
    aside.rename(target)
    return True


def _entry(imgid: int, filename: str, split: str, texts: list[str]) -> dict[str, Any]:
    """One image in RSICD's fields; as there, sentence ids rise by five from image to image."""
    first = 5 * imgid
    sentences = [
        {"tokens": [w for w in text.split() if w != "."], "raw": text, "imgid": imgid, "sentid": first + n}
        for n, text in enumerate(texts)
    ]
    sentids = [s["sentid"] for s in sentences]
    return {"filename": filename, "imgid": imgid, "split": split, "sentids": sentids, "sentences": sentences}
