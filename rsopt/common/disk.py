"""Room on the disks of folders that may not exist yet. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path


def existing_parent(path: Path) -> Path:
    """Returns `path`, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def free_disk(folder: Path) -> int:
    """Returns the bytes that are free on the disk where `folder` is or will be."""
    return shutil.disk_usage(existing_parent(folder)).free
