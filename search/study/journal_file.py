"""The writer lock of a study's folder."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO

from rsopt.errors import UserError
from search.storage.layout import LOCK_FILE


def hold(folder: Path) -> BinaryIO:
    """The folder's writer lock. The system frees it with the process, however that ends."""
    file = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"another process is driving the study in {folder}") from error
    return file
