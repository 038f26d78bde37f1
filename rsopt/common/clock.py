"""The time of day as files, MLflow and messages between processes hold it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Returns the time now in whole milliseconds since 1970."""
    return int(time.time() * 1000)
