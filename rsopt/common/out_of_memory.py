"""Detects out-of-memory errors (GPU or host), retries with half the batch, and records predictions that were exceeded."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from rsopt.common import json_lines

EXCEEDED_FILE = "memory.jsonl"  # in a study's folder: exceeded predictions of memory, as JSON lines
MOST = 4.0  # upper bound of the factor: beyond it other processes, and not the prediction, are the likely cause
_T = TypeVar("_T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. On a CPU, torch has no exception class for it, only a message."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release() -> None:
    """Free memory that only caches hold. Call it where the tensors of the failed attempt are out of scope."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halve_until_fits(images: int, attempt: Callable[[int], _T]) -> _T:
    """Returns `attempt(images)`, retried with half as many images after each out-of-memory error.

    Raises the error of the attempt with one image.
    """
    while True:
        try:
            return attempt(images)
        except (RuntimeError, MemoryError) as error:
            if images == 1 or not is_out_of_memory(error):
                raise
        images = max(1, images // 2)  # outside the handler, where the tensors of the failed attempt are freed
        release()


def note_exceeded(folder: Path, predicted: float, had: float) -> None:
    """Record that a step predicted to need `predicted` bytes did not fit into the `had` bytes that were free."""
    json_lines.append(folder / EXCEEDED_FILE, {"predicted": round(predicted), "had": round(had)})


def exceeded(folder: Path) -> float:
    """Returns the largest factor, at least 1, by which predictions were exceeded in this study. It scales later ones."""
    entries = json_lines.read(folder / EXCEEDED_FILE, skip_damaged=True)
    return max([1.0, *(min(MOST, entry["had"] / entry["predicted"]) for entry in entries)])
