"""Where derived files live: the generated data set and the vision features. Everything in it can be deleted and rebuilt."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$RSOPT_CACHE`, else `$XDG_CACHE_HOME/rsopt`, else `~/.cache/rsopt`; not created here."""
    if own := os.environ.get("RSOPT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsopt"
