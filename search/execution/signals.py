"""Stopping a search from outside: what Ctrl-C and SIGTERM do, once and twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsopt.cli import EXIT_INTERRUPTED


class InterruptHandler:
    """SIGTERM like Ctrl-C: the first ends the search in good order, the second at once.

    At once is safe: the journal is written before anything happens, and Ray's processes notice that their driver is gone.
    """

    def __init__(self) -> None:
        self.asked = False

    def watch(self) -> None:
        """Install the handlers. After ray.init, which has its own."""
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, self._on_signal)

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for: one raised in a destructor or a module's lock is swallowed."""
        if self.asked:
            raise KeyboardInterrupt

    def _on_signal(self, *_: Any) -> None:
        if self.asked:
            os.write(2, b"\033[?25h\ninterrupted twice: stopped at once; --resume goes on\n")  # and the cursor is back
            os._exit(EXIT_INTERRUPTED)
        self.asked = True
        raise KeyboardInterrupt


@contextmanager
def restored_signals() -> Iterator[None]:
    """The handlers as they were, at the end of a block that installs its own."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
