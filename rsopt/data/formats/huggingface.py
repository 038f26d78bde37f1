"""Reads Hugging Face data sets without their library: parquet files, or a folder saved by `save_to_disk` (arrow files).

Columns: `filename`, `captions` or `caption`, `image` ({bytes, path}, bytes or a path). The split is the name of a file or of
its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from rsopt.common.text import printable
from rsopt.data.formats.karpathy import load_json
from rsopt.data.formats.listing import Fault, Listing, Row, separate, split_of, text_or_fault
from rsopt.errors import UserError

_SHARD = re.compile(r"[-._]")
_CAPTIONS = ("captions", "caption")


def is_hugging_face(path: Path) -> bool:
    """Whether `path` is a parquet or arrow file, or a folder that holds such files."""
    return bool(_files(path))


def read_hugging_face(path: Path, name: str | None = None) -> Listing:
    """Read the listing of a parquet file, a folder of them, or a saved data set. Image bytes stay encoded."""
    rows, bad = separate(rows_of(path))
    if not rows and not bad:
        raise UserError(f"{path}: holds no rows")
    folder = path if path.is_dir() else path.parent
    return Listing(printable(name or path.stem), "huggingface", rows, folder, folder, bad)


def rows_of(path: Path) -> Iterator[Row | Fault]:
    """Yield the rows one by one, so that a set may be larger than memory."""
    number = 0
    for file in _files(path):
        split, before = _split(path, file), number
        for batch in _batches(file):
            captions = _captions_column(file, batch)
            names = _values(batch["filename"]) if "filename" in batch.schema.names else [None] * batch.num_rows
            for name, texts, image in zip(names, _values(batch[captions]), _values(batch["image"]), strict=True):
                data, path_of = _image(image)
                place = f"{file.name}: row {number - before}"
                filename = text_or_fault(f"{place}: filename", name or path_of or f"{split}_{number}")
                yield filename if isinstance(filename, Fault) else _row(f"{place}: {captions}", split, filename, texts, data)
                number += 1


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
    listed = _state(folder).get("_data_files", [])
    return {str(entry.get("filename")) for entry in listed if isinstance(entry, dict)} if isinstance(listed, list) else set()


def _state(folder: Path) -> dict[str, Any]:
    file = folder / "state.json"
    state = load_json(file) if file.is_file() else {}
    return state if isinstance(state, dict) else {}


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


def _captions_column(file: Path, batch: pa.RecordBatch) -> str:
    columns = batch.schema.names
    captions = next((c for c in _CAPTIONS if c in columns), None)
    if captions is None or "image" not in columns:
        raise UserError(f"{file}: columns are {', '.join(columns)}; needed: captions or caption, image (and filename)")
    return captions


def _row(place: str, split: str, filename: str, captions: Any, data: bytes | None) -> Row:
    """The row of one image.

    Args:
        place: Of its captions: file, row and column.
        split: As the file's name says.
        filename: As listed.
        captions: The column's value: a text, or a list of texts.
        data: Encoded bytes of the image, None where it is a file.
    """
    # The hub's RSICD lists `rsicd_images/airport_1.jpg`, but no copy has this folder.
    filename = PurePosixPath(filename).name if data is not None and ".." not in filename else filename
    listed = [(f"{place}[{n}]", c) for n, c in enumerate(captions)] if isinstance(captions, list) else [(place, captions)]
    texts, faults = separate(text_or_fault(*pair) for pair in listed)
    return Row(filename, split, texts, data=data, faults=faults)


def _values(column: pa.Array) -> list[Any]:
    """The column's values; bytes that are not UTF-8 become text that `text_fault` tells from Unicode."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar) and scalar.is_valid:
        return [_value(item) for item in scalar.values]
    if isinstance(scalar, pa.StructScalar) and scalar.is_valid:
        return {key: _value(item) for key, item in scalar.items()}
    if isinstance(scalar, pa.StringScalar | pa.LargeStringScalar) and scalar.is_valid:
        return scalar.as_buffer().to_pybytes().decode(errors="surrogateescape")
    return scalar.as_py()


def _image(image: Any) -> tuple[bytes | None, Any]:
    """Encoded bytes, and a path, of an image column's value; None where it has none."""
    if isinstance(image, dict):
        data = image.get("bytes")
        return data if isinstance(data, bytes) else None, image.get("path")
    return (image, None) if isinstance(image, bytes) else (None, image if isinstance(image, str) else None)
