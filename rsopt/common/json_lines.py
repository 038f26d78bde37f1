"""Files of JSON values, one a line, whose writer may have died in the middle of a line. No torch.

Readers ignore a last line without a newline. Writers cut it off before they append, so that the new line does not join it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO


def read(path: Path, skip_damaged: bool = False) -> list[Any]:
    """Returns the values of the complete lines of `path`, none where there is no such file.

    Raises ValueError for a complete line that is not JSON, unless `skip_damaged`.
    """
    values = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if not line.endswith("\n"):
            continue
        try:
            values.append(json.loads(line))
        except ValueError:
            if not skip_damaged:
                raise
    return values


def append(path: Path, value: Any, sort_keys: bool = False) -> None:
    """Write `value` as a new last line, under a lock on the file."""
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _cut(file)
        file.write(json.dumps(value, sort_keys=sort_keys).encode() + b"\n")


def cut_torn_end(path: Path) -> int:
    """Cut what follows the last complete line of JSON and return the number of bytes cut.

    Takes no lock: the caller must be the only writer.
    """
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        return _cut(file)


def _cut(file: BinaryIO) -> int:
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
    """Returns start and bytes of the last line before `end`, with its newline if it has one."""
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
