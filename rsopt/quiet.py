"""The quiet lock: while one process measures latency on a device, the others that train on it pause between steps.

Two file locks that the kernel releases when a holder dies. `room` is shared by workers and exclusive for a measurement; a
shared lock alone starves the measurer, so it first takes `gate`, which workers try between steps and step aside for.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Quiet:
    """The lock of one device on this node. Not for several threads of a process."""

    def __init__(self, device: str, folder: Path | None = None) -> None:
        # Node-local on purpose: a shared file system's locks are slow, and other nodes do not disturb this device.
        folder = folder or Path(tempfile.gettempdir()) / f"rsopt-quiet-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in device)
        self._gate, self._room = (
            os.open(folder / f"{name}.{part}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            for part in ("gate", "room")
        )

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute on the device; call `give_way` between steps."""
        fcntl.flock(self._room, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def give_way(self, settle: Callable[[], None] | None = None) -> None:
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
    def measuring(self) -> Iterator[None]:
        """Have the device alone. Measurements queue; not to be called inside `working`."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._room, fcntl.LOCK_UN)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file handles back."""
        os.close(self._gate)
        os.close(self._room)
