"""Files that a reader sees whole: the old one or the new one. No torch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsopt.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends well; nothing is left when it does not."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` in place of what was there."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n")


def write_asked(path: Path, text: str) -> None:
    """Write a file where a person asked for it. UserError where that cannot be."""
    try:
        with replacing(path) as aside:
            aside.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
