"""Handlers of Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsopt.cli import EXIT_INTERRUPTED


class InterruptHandler:
    """Ends a search on the first Ctrl-C or SIGTERM in good order, and the process on the second at once.

    Ending at once is safe: the journal is written before every action, and Ray's processes end with their driver.
    """

    def __init__(self) -> None:
        self.interrupted = False

    def watch(self) -> None:
        """Install the handlers. Called after ray.init, which installs its own."""
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, self._on_signal)

    def check(self) -> None:
        """Raise KeyboardInterrupt again after an interrupt: Python swallows one that is raised in a destructor."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _on_signal(self, *_: Any) -> None:
        if self.interrupted:
            os.write(2, b"\033[?25h\ninterrupted twice: stopped at once; --resume continues\n")  # shows the cursor again
            os._exit(EXIT_INTERRUPTED)
        self.interrupted = True
        raise KeyboardInterrupt


@contextmanager
def restored_signals() -> Iterator[None]:
    """Restore the signal handlers at the end of a block that installs its own."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
