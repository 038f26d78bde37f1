"""The lock of a device: while one process measures latency on it, the others that compute on it pause between steps.

Made of two file locks, which the kernel releases when their holder dies. `room` is shared by workers and exclusive for a
measurement. Since shared locks would starve a measurement, it first takes `gate`, which workers try between steps; where it
is taken, they release `room` and wait. A third file for each process, locked while it lives, counts the processes of ours.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOG = logging.getLogger(__name__)
_SAID_AFTER_S, _SAID_EVERY_S = 5.0, 60.0  # a wait is mentioned after the first, and again every second
PATIENCE_S = 600.0  # longest wait of a measurement for workers to pause; building features takes minutes
_POLL_S = {fcntl.LOCK_EX: 0.002, fcntl.LOCK_SH: 0.02}  # who pauses for a measurement must not disturb it by asking
_MEMBERS: dict[Path, int] = {}  # handles held until this process ends, since it stays on its card between legs


class DeviceLock:
    """The lock of one device on this node. For one thread of a process.

    `purpose` says what this process does there, to others who wait for it.
    """

    def __init__(self, device: str, folder: Path | None = None, purpose: str = "") -> None:
        # Local to the node: locks of a shared file system are slow, and other nodes do not disturb this device.
        self.folder = folder or Path(tempfile.gettempdir()) / f"rsopt-quiet-{os.getuid()}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._device, self._name = device, "".join(c if c.isalnum() else "-" for c in device)
        self._gate, self._room = (_open(self.folder / f"{self._name}.{part}") for part in ("gate", "room"))
        member = self.folder / f"{self._name}.{os.getpid()}.member"
        if member not in _MEMBERS:
            _MEMBERS[member] = _open(member)
            fcntl.flock(_MEMBERS[member], fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(_MEMBERS[member], f"process {os.getpid()}" + (f" ({purpose})" if purpose else ""))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Holds the device together with other workers. Call `yield_to_measurement` between steps."""
        self._lock(self._gate, fcntl.LOCK_SH)  # waits behind a measurement, which newcomers would delay
        self._lock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def yield_to_measurement(self, settle: Callable[[], None] | None = None) -> None:
        """Pauses while a measurement waits or runs; takes about a microsecond otherwise.

        `settle` is called before the pause; on a GPU it must wait until the device has finished its work.
        """
        try:
            fcntl.flock(self._gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if settle:
                settle()
            fcntl.flock(self._room, fcntl.LOCK_UN)
            self._lock(self._gate, fcntl.LOCK_SH)
            self._lock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self, patience_s: float = PATIENCE_S) -> Iterator[bool]:
        """Holds the device alone, after other measurements. Must not be called inside `shared`.

        Yields whether the device is free: False where a worker did not pause within `patience_s` seconds.
        """
        deadline = time.monotonic() + patience_s
        try:
            was_granted = self._lock(self._gate, fcntl.LOCK_EX, deadline) and self._lock(self._room, fcntl.LOCK_EX, deadline)
            yield was_granted
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)  # unlocking what is not locked does nothing
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def members(self) -> int:
        """Returns how many living processes of this node have opened this lock, this one included."""
        return len(self._living())

    def _lock(self, handle: int, how: int, deadline: float = math.inf) -> bool:
        """Takes a lock; returns False when the deadline passes first. Tries at least once, and says so when it waits long."""
        begin = time.monotonic()
        say_at = begin + _SAID_AFTER_S
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                if now > deadline:
                    return False
                if now > say_at:
                    say_at = now + _SAID_EVERY_S
                    _LOG.warning("waiting for %s for %.0f s, which is used by %s", self._device, now - begin, self._others())
                time.sleep(_POLL_S[how])
            else:
                return True

    def _others(self) -> str:
        """The other processes that have opened this lock, in words."""
        return ", ".join(path.read_text() for path in self._living() if path not in _MEMBERS) or "another process"

    def _living(self) -> list[Path]:
        """Member files of the living processes that have opened this lock."""
        return [path for path in sorted(self.folder.glob(f"{self._name}.*.member")) if path in _MEMBERS or _is_locked(path)]

    def close(self) -> None:
        """Closes the file handles."""
        os.close(self._gate)
        os.close(self._room)


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)


def _is_locked(path: Path) -> bool:
    """Whether a living process holds this member file. Removes a file that a dead process left."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        path.unlink(missing_ok=True)
    return False
