"""The folder of derived files, such as the generated data set and vision features. All of it can be deleted and rebuilt."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Returns `$RSOPT_CACHE`, else `$XDG_CACHE_HOME/rsopt`, else `~/.cache/rsopt`. Does not create it."""
    if chosen := os.environ.get("RSOPT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsopt"
