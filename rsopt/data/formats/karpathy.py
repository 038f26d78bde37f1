"""Reads Karpathy's JSON of RSICD, UCM-Captions and Sydney-Captions: `images` with filename, split and sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rsopt.common.text import printable
from rsopt.data.formats.listing import Fault, Listing, Row, image_folder, separate, text_or_fault
from rsopt.errors import UserError


def read_karpathy(file: Path, content: dict[str, Any]) -> Listing:
    """Return the listing in `content`, which was read from `file`. Raises UserError if it lists nothing."""
    images = content["images"]
    if not isinstance(images, list) or not images:
        raise UserError(f"{file}: `images` must be a list with at least one image")
    rows, bad = separate(_row(f"images[{number}]", image) for number, image in enumerate(images))
    name = printable(str(content.get("dataset") or file.stem.removeprefix("dataset_")))
    folder = image_folder(file.parent, [row.filename for row in rows])
    return Listing(name, "karpathy", rows, folder, file.parent, bad)


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
    except ValueError:  # of Python itself, for whole numbers of thousands of digits
        raise UserError(f"{file}: holds a number of too many digits") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _row(place: str, image: Any) -> Row | Fault:
    if not isinstance(image, dict):
        return Fault(f"{place} is not an object with filename, split and sentences")
    if "filename" not in image:
        return Fault(f"{place} has no `filename`")
    filename = text_or_fault(f"{place}.filename", image["filename"])
    split = text_or_fault(f"{place}.split", image.get("split", ""))
    folder = text_or_fault(f"{place}.filepath", image.get("filepath") or "")
    for value in (filename, split, folder):
        if isinstance(value, Fault):
            return value
    sentences = image.get("sentences", [])
    if isinstance(sentences, list):
        texts, faults = separate(_caption(f"{place}.sentences[{i}]", s) for i, s in enumerate(sentences))
    else:
        texts, faults = (), (f"{place}.sentences is not a list",)
    return Row(f"{folder}/{filename}" if folder else str(filename), str(split), texts, faults=faults)


def _caption(place: str, sentence: Any) -> str | Fault:
    """The raw text, or the joined tokens if there is none; in some sets the two differ."""
    if isinstance(sentence, str):
        return Fault(f"{place} is plain text, not an object with `raw`")
    if not isinstance(sentence, dict):
        return text_or_fault(place, sentence)
    if "raw" in sentence:
        return text_or_fault(f"{place}.raw", sentence["raw"])
    if not isinstance(tokens := sentence.get("tokens"), list):
        return Fault(f"{place} has no `raw` text")
    words, faults = separate(text_or_fault(f"{place}.tokens[{i}]", token) for i, token in enumerate(tokens))
    return Fault(faults[0]) if faults else " ".join(words)
