"""The writer lock of a study's folder."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO

from rsopt.errors import UserError
from search.storage.layout import LOCK_FILE


def lock_folder(folder: Path) -> BinaryIO:
    """Returns a lock file whose closing frees the folder; the system closes it if the process dies.

    Raises UserError if another process has it.
    """
    file = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"another process is driving the study in {folder}") from error
    return file
