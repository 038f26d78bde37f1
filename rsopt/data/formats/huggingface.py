"""Reads Hugging Face data sets without their library: parquet files, or a folder saved by `save_to_disk` (arrow files).

Columns: `filename`, `captions` or `caption`, `image` ({bytes, path}, bytes or a path). The split is the name of a file or of
its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from rsopt.data.formats.listing import Listing, Row, scene_of, split_of
from rsopt.errors import UserError

_SHARD = re.compile(r"[-._]")
_CAPTIONS = ("captions", "caption")


def is_hugging_face(path: Path) -> bool:
    """Whether `path` is a parquet or arrow file, or a folder that holds such files."""
    return bool(_files(path))


def read_hugging_face(path: Path, name: str | None = None) -> Listing:
    """Read the listing of a parquet file, a folder of them, or a saved data set. Image bytes stay encoded."""
    rows = tuple(rows_of(path))
    if not rows:
        raise UserError(f"{path}: holds no rows")
    return Listing(name or path.stem, "huggingface", rows, path if path.is_dir() else path.parent)


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows one by one, so that a set may be larger than memory."""
    number = 0
    for file in _files(path):
        split = _split(path, file)
        for batch in _batches(file):
            yield from _rows(file, split, number, batch)
            number += batch.num_rows


def count_rows(path: Path) -> int:
    """Return the number of rows of parquet files, read from their footers."""
    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in _files(path) if file.suffix == ".parquet")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix in (".parquet", ".arrow") else []
    saved = [f for f in sorted(path.rglob("*.arrow")) if not f.name.startswith("cache-")]
    if saved and any((f.parent / "state.json").is_file() for f in saved):
        return [f for f in saved if f.name in _current(f.parent)]
    return sorted(path.rglob("*.parquet"))


def _current(folder: Path) -> set[str]:
    """Names of a saved split's arrow files; other files in the folder come from earlier saves."""
    return {entry["filename"] for entry in _state(folder).get("_data_files", [])}


def _state(folder: Path) -> dict[str, Any]:
    file = folder / "state.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _split(root: Path, file: Path) -> str:
    """The part of the path that names the split: `valid.parquet`, `data/train-0-of-2.parquet`, `test/data-00000.arrow`."""
    inside = file.relative_to(root) if file != root else Path(file.name)
    saved = str(_state(file.parent).get("_split") or "") if file.suffix == ".arrow" else ""
    parts = (saved, _SHARD.split(inside.name)[0], *reversed(inside.parts[:-1]), file.parent.name)
    return next((part for part in parts if split_of(part)), parts[1])


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        if file.suffix == ".parquet":
            with pyarrow.parquet.ParquetFile(file) as opened:
                yield from opened.iter_batches(batch_size=256)
        else:
            with pa.memory_map(str(file)) as source:
                yield from pyarrow.ipc.open_stream(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None


def _rows(file: Path, split: str, first: int, batch: pa.RecordBatch) -> Iterator[Row]:
    columns = batch.schema.names
    captions = next((c for c in _CAPTIONS if c in columns), None)
    if captions is None or "image" not in columns:
        raise UserError(f"{file}: columns are {', '.join(columns)}; needed: captions or caption, image (and filename)")
    names = batch["filename"].to_pylist() if "filename" in columns else [None] * batch.num_rows
    for offset, (name, texts, image) in enumerate(
        zip(names, batch[captions].to_pylist(), batch["image"].to_pylist(), strict=True)
    ):
        data, path = _image(image)
        filename = name or path or f"{split}_{first + offset}"
        # The hub's RSICD lists `rsicd_images/airport_1.jpg`, but no copy has this folder.
        filename = PurePosixPath(filename).name if data is not None and ".." not in filename else filename
        yield Row(filename, split, _texts(f"{file}: {filename}", texts), scene_of(filename), data)


def _image(image: Any) -> tuple[bytes | None, str | None]:
    if isinstance(image, dict):
        return image.get("bytes"), image.get("path")
    return (image, None) if isinstance(image, bytes) else (None, image if isinstance(image, str) else None)


def _texts(where: str, texts: Any) -> tuple[str, ...]:
    if texts is None or isinstance(texts, str):
        return (texts,) if texts else ()
    if not isinstance(texts, list) or not all(t is None or isinstance(t, str) for t in texts):
        raise UserError(f"{where}: captions must be text or a list of texts")
    return tuple(t or "" for t in texts)
