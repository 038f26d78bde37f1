"""The quiet lock: while one process measures latency on a device, the others that train on it pause between steps.

Two file locks that the kernel releases when a holder dies. `room` is shared by workers and exclusive for a measurement; a
shared lock alone starves the measurer, so it first takes `gate`, which workers try between steps and step aside for.
A third file for each process, locked while it lives, tells which processes of the device are ours.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = (
    600.0  # a measurement waits so long for workers between two steps (building features takes minutes), no longer
)
_POLL_S = 0.002
_MEMBERS: dict[Path, int] = {}  # handles held until this process ends: between two legs it is on its card all the same


class DeviceLock:
    """The lock of one device on this node. Not for several threads of a process."""

    def __init__(self, device: str, folder: Path | None = None) -> None:
        # Node-local on purpose: a shared file system's locks are slow, and other nodes do not disturb this device.
        self.folder = folder or Path(tempfile.gettempdir()) / f"rsopt-quiet-{os.getuid()}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = "".join(c if c.isalnum() else "-" for c in device)
        self._gate, self._room = (_open(self.folder / f"{self._name}.{part}") for part in ("gate", "room"))
        member = self.folder / f"{self._name}.{os.getpid()}.member"
        if member not in _MEMBERS:
            _MEMBERS[member] = _open(member)
            fcntl.flock(_MEMBERS[member], fcntl.LOCK_EX | fcntl.LOCK_NB)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Compute on the device; call `yield_to_measurement` between steps."""
        fcntl.flock(self._gate, fcntl.LOCK_SH)  # behind a measurement that waits: newcomers would prolong its wait
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def yield_to_measurement(self, settle: Callable[[], None] | None = None) -> None:
        """Pause if a measurement waits or runs; about a microsecond otherwise.

        `settle` is called before pausing: a GPU still works on what it was given, so there it must wait for the device.
        """
        try:
            fcntl.flock(self._gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if settle:
                settle()
            fcntl.flock(self._room, fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_SH)
            fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self, patience_s: float = PATIENCE_S) -> Iterator[bool]:
        """Have the device alone. Measurements queue; not to be called inside `working`.

        Gives False where somebody computed on, without a pause, for `patience_s` seconds: what is measured then is not
        quiet, and says so.
        """
        deadline = time.monotonic() + patience_s
        try:
            was_granted = _lock_until(self._gate, deadline) and _lock_until(self._room, deadline)
            yield was_granted
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)  # unlocking what is not locked does nothing
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def members(self) -> int:
        """Living processes of this node that ever opened this lock, this one included: for telling ours from strangers."""
        alive = set()
        for path in self.folder.glob(f"{self._name}.*.member"):
            if path in _MEMBERS or _is_locked(path):
                alive.add(path)
        return len(alive)

    def close(self) -> None:
        """Give the file handles back."""
        os.close(self._gate)
        os.close(self._room)


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _lock_until(handle: int, deadline: float) -> bool:
    """Lock exclusively; False when the time has come first. The first try is made whatever the time."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _is_locked(path: Path) -> bool:
    """Whether a living process holds this member file; one that a killed process left is removed."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        path.unlink(missing_ok=True)
    return False
