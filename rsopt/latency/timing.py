"""Timing of calls, the interval of a ratio of times, and exclusive use of a device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from rsopt.latency.device import foreign_processes
from rsopt.latency.device_lock import DeviceLock


def timed(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Returns the milliseconds of a call, including its work on the device, and its result."""
    begin = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begin), result


def ratio_interval(pairs: np.ndarray, seed: int, draws: int = 1000) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of median(candidate) / median(reference). `pairs`: (runs, 2), reference first."""
    drawn = np.random.default_rng(seed).integers(len(pairs), size=(draws, len(pairs)))
    medians = np.median(pairs[drawn], axis=1)
    low, high = np.percentile(medians[:, 1] / medians[:, 0], [2.5, 97.5])
    return float(low), float(high)


@contextmanager
def exclusive_device(device_lock: DeviceLock, device: torch.device) -> Iterator[str | None]:
    """Holds the device alone, with garbage collection off. Yields why times taken inside are not reliable, or None."""
    with device_lock.exclusive() as alone:
        disturbed = None if alone else "other workers did not pause"
        if company := foreign_processes(device, device_lock.members()):
            disturbed = f"{company} other process{'es' * (company > 1)} on the card"
        was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            yield disturbed
        finally:
            if was_enabled:
                gc.enable()
