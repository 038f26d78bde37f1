"""Reads Karpathy's JSON of RSICD, UCM-Captions and Sydney-Captions: `images` with filename, split and sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rsopt.data.formats.listing import Listing, Row, image_folder, scene_of
from rsopt.errors import UserError


def read_karpathy(file: Path, content: dict[str, Any]) -> Listing:
    """Return the listing in `content`, which was read from `file`. Raises UserError that names a wrong entry."""
    images = content["images"]
    if not isinstance(images, list) or not images:
        raise UserError(f"{file}: `images` must be a list with at least one image")
    rows = tuple(_row(file, number, image) for number, image in enumerate(images))
    name = content.get("dataset") or file.stem.removeprefix("dataset_")
    return Listing(str(name), "karpathy", rows, image_folder(file.parent, [row.filename for row in rows]))


def load_json(file: Path) -> Any:
    """Parse a JSON file. Raises UserError with line and column if it is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise UserError(f"{file}: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8: byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _row(file: Path, number: int, image: Any) -> Row:
    where = f"{file}: images[{number}]"
    if not isinstance(image, dict) or not isinstance(image.get("filename"), str):
        raise UserError(f"{where} has no `filename`; an entry needs filename, split and sentences")
    sentences = image.get("sentences", [])
    if not isinstance(sentences, list):
        raise UserError(f"{where} ({image['filename']}): `sentences` must be a list")
    texts = tuple(_text(f"{where} ({image['filename']}): sentences[{i}]", s) for i, s in enumerate(sentences))
    folder = image.get("filepath")
    filename = f"{folder}/{image['filename']}" if isinstance(folder, str) and folder else image["filename"]
    return Row(filename, str(image.get("split", "")), texts, scene_of(filename))


def _text(where: str, sentence: Any) -> str:
    """The raw text, or the joined tokens if there is none; in some sets the two differ."""
    if isinstance(sentence, dict):
        if isinstance(raw := sentence.get("raw"), str):
            return raw
        if isinstance(tokens := sentence.get("tokens"), list):
            return " ".join(map(str, tokens))
    raise UserError(f"{where} has no `raw` text")
