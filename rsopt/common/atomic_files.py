"""Files and folders that appear whole or not at all: written under another name, then renamed. No torch."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsopt.errors import UserError


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A hidden name beside `path`; whatever bears it when the block ends is removed."""
    aside = path.with_name(f".{path.name.lstrip('.')}.{uuid.uuid4().hex}")
    try:
        yield aside
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a name for a file that replaces `path` when the block ends without an exception; otherwise nothing is left."""
    with _aside(path) as aside:
        yield aside
        aside.replace(path)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file or a folder; where another process has made `path` meanwhile, that one stays."""
    with _aside(path) as aside:
        yield aside
        if aside.is_dir():
            if not path.exists():
                aside.rename(path)
            return
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            aside.rename(path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path`, replacing an older file."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n")


def write_asked(path: Path, text: str) -> None:
    """Write a text file to a path that a user named. Raises UserError where it cannot be written."""
    try:
        with replacing(path) as aside:
            aside.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder that becomes `folder` when the block ends without an exception; otherwise nothing is left.

    Raises UserError when `folder` exists and is not an empty folder.
    """
    check_new(folder)
    folder = folder.absolute()
    with _aside(folder) as aside:
        aside.mkdir(parents=True)
        yield aside
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)


def check_new(folder: Path) -> None:
    """Raise UserError when `folder` exists and is not an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"folder '{folder}' is not empty; an export wants a new one")
