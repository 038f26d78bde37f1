"""Measured speed of matrix products on this machine, from which durations are predicted before anything is trained."""

from __future__ import annotations

import time
from functools import cache

import torch


def matmul_pace(seconds: float = 0.2) -> tuple[float, str]:
    """Returns FLOP/s of a square matrix product and the device: a GPU in bfloat16, else one CPU core in float32."""
    if torch.cuda.is_available():
        return measured_peak(torch.device("cuda"), torch.bfloat16, seconds=seconds), torch.cuda.get_device_name()
    threads, size = torch.get_num_threads(), 512
    torch.set_num_threads(1)  # as a worker does
    try:
        a, b = torch.randn(size, size), torch.randn(size, size)
        a @ b
        begin, best = time.perf_counter(), float("inf")
        while time.perf_counter() - begin < seconds:
            now = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - now)  # the fastest: others shared the core with other processes
        return 2.0 * size**3 / best, "one core"
    finally:
        torch.set_num_threads(threads)


@cache
def measured_peak(device: torch.device, dtype: torch.dtype, size: int = 8192, seconds: float = 0.2) -> float:
    """Returns FLOP/s of a large square matrix product on a GPU, which MFU is a share of. Measured once, in tenths of a second."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize(device)
    begin, runs = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        a @ b
        torch.cuda.synchronize(device)
        runs += 1
    return 2.0 * size**3 * runs / (time.perf_counter() - begin)
