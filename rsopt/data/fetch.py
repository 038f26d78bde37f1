"""Fetch: a hub data set's parquet files written in RSICD's layout, so that images are plain files. Can be interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rsopt.data.formats.hub import cached_parquet
from rsopt.data.formats.huggingface import count_rows, is_hugging_face, rows_of
from rsopt.data.formats.listing import Row, is_inside, split_of
from rsopt.errors import UserError

SOURCES = {"rsicd": "arampacha/rsicd"}
WARNING = (
    "The hub's RSICD holds back-translated captions, which differ from the official dataset_rsicd.json: "
    "scores on it do not compare with those in papers."
)
_IMAGES = "RSICD_images"


def fetch(
    name: str, folder: Path, source: str | None = None, on_done: Callable[[int, int, int], None] | None = None
) -> tuple[int, int]:
    """Write data set `name` into `folder`: `RSICD_images/` and, last, `dataset_rsicd.json`. Returns (images, written now).

    `source` is a hub id or a folder of parquet files in the hub's form. What an interrupted call wrote is kept and not
    written again. `on_done(image number, of, written now)`. UserError where the source is not there or not of that form.
    """
    if name not in SOURCES:
        raise UserError(f"unknown data set '{name}'; known: {', '.join(SOURCES)}")
    origin = source or SOURCES[name]
    listing = folder / f"dataset_{name}.json"
    if listing.exists():
        raise UserError(f"{listing} is already there: the set is complete. Remove it to fetch again")
    parquet = Path(origin) if Path(origin).is_dir() else cached_parquet(origin, progress=True)
    if not is_hugging_face(parquet):
        raise UserError(f"{origin}: no parquet file in it")
    images, total = folder / _IMAGES, count_rows(parquet)
    images.mkdir(parents=True, exist_ok=True)
    # Bytes are written and let go; only names, splits and captions are kept. A row may hold one caption of several.
    kept: dict[tuple[str, str], list[str]] = {}
    written = 0
    for number, row in enumerate(rows_of(parquet), start=1):
        written += _write(images, row, origin)
        kept.setdefault((row.filename, split_of(row.split) or row.split), []).extend(row.texts)
        if on_done:
            on_done(number, total, written)
    for left in images.glob(".*.part"):  # of a call that was killed while it wrote one
        left.unlink()
    entries = [_entry(n, filename, split, texts) for n, ((filename, split), texts) in enumerate(kept.items())]
    _save(listing, {"images": entries, "dataset": f"{name} of {origin}"})
    return len(entries), written


def _write(folder: Path, row: Row, origin: str) -> bool:
    """Write one image unless it is there in full; whether it was written."""
    if row.data is None:
        raise UserError(f"{origin}: {row.filename} has no image bytes")
    if not is_inside(row.filename):
        raise UserError(f"{origin}: file name '{row.filename}' leaves the image folder")
    target = folder / row.filename
    if target.is_file() and target.stat().st_size == len(row.data):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name aside: a later call overwrites what an interrupted one left.
    aside = target.with_name(f".{target.name}.part")
    aside.write_bytes(row.data)
    aside.rename(target)
    return True


def _entry(imgid: int, filename: str, split: str, texts: list[str]) -> dict[str, Any]:
    """One image in RSICD's own fields; sentence ids count on from image to image, five apart as there."""
    first = 5 * imgid
    sentences = [
        {"tokens": [w for w in text.split() if w != "."], "raw": text, "imgid": imgid, "sentid": first + n}
        for n, text in enumerate(texts)
    ]
    sentids = [s["sentid"] for s in sentences]
    return {"filename": filename, "imgid": imgid, "split": split, "sentids": sentids, "sentences": sentences}


def _save(file: Path, content: dict[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.rename(file)
