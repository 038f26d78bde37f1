"""The journal's file: held by one writer, and mended when a writer died in the middle of a line."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO

from rsopt.errors import UserError


def hold(folder: Path) -> BinaryIO:
    """The folder's writer lock. The system frees it with the process, however that ends."""
    file = (folder / "writer.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"another process is driving the study in {folder}") from error
    return file


def mend(path: Path) -> int:
    """Cut a torn end off the journal, which would be unreadable for ever once appended to. Returns the bytes cut."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start, line = _last_line(file, end)
            if line.endswith(b"\n") and _is_json(line):
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())
    return size - end


def _last_line(file: BinaryIO, end: int) -> tuple[int, bytes]:
    """Start and bytes of the last line before `end`, its newline included if it has one."""
    block, line = 1 << 16, b""
    at = end
    while at > 0:
        at = max(0, at - block)
        file.seek(at)
        line = file.read(end - at)
        newline = line.rfind(b"\n", 0, len(line) - 1)
        if newline >= 0:
            return at + newline + 1, line[newline + 1 :]
    return 0, line


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
