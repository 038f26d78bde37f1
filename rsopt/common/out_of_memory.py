"""Shortage: memory that ended, on a card or in the host, and doing with half until it fits."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from rsopt.common import json_lines

EXCEEDED_FILE = "memory.jsonl"  # in a study's folder: where predictions of memory were exceeded, a JSON object a line
MOST = 4.0  # a prediction that is further off than this says more about the neighbours than about the model
_T = TypeVar("_T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ended. On a CPU torch has no class for it, only a message."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release() -> None:
    """Give back what only caches hold. To be called where the failed attempt's tensors are out of scope."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halve_until_fits(images: int, attempt: Callable[[int], _T]) -> _T:
    """`attempt(images)`, again with half as many whenever memory ends. Raises what it raised at one image."""
    while True:
        try:
            return attempt(images)
        except (RuntimeError, MemoryError) as error:
            if images == 1 or not is_out_of_memory(error):
                raise
        images = max(1, images // 2)  # out here the failed attempt's tensors are gone
        release()


def note_exceeded(folder: Path, predicted: float, had: float) -> None:
    """Write down that a step predicted to need `predicted` bytes did not fit into the `had` bytes that were free."""
    json_lines.append(folder / EXCEEDED_FILE, {"predicted": round(predicted), "had": round(had)})


def exceeded(folder: Path) -> float:
    """By which factor predictions were exceeded in this study so far, at least 1: what later ones are multiplied by."""
    entries = json_lines.read(folder / EXCEEDED_FILE, skip_damaged=True)
    return max([1.0, *(min(MOST, entry["had"] / entry["predicted"]) for entry in entries)])
