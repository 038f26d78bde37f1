"""How fast this machine multiplies matrices: the pace behind an expected time before anything was trained here."""

from __future__ import annotations

import time
from functools import cache

import torch


def matmul_pace(seconds: float = 0.2) -> tuple[float, str]:
    """FLOP/s of a square matrix product (bfloat16 on the GPU there is, else float32 on one core) and what it was measured on."""
    if torch.cuda.is_available():
        pass

        return measured_peak(torch.device("cuda"), torch.bfloat16, seconds=seconds), torch.cuda.get_device_name()
    threads, size = torch.get_num_threads(), 512
    torch.set_num_threads(1)  # as a worker has it
    try:
        a, b = torch.randn(size, size), torch.randn(size, size)
        a @ b
        begin, best = time.perf_counter(), float("inf")
        while time.perf_counter() - begin < seconds:
            now = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - now)  # the others had to share the core
        return 2.0 * size**3 / best, "one core"
    finally:
        torch.set_num_threads(threads)


@cache
def measured_peak(device: torch.device, dtype: torch.dtype, size: int = 8192, seconds: float = 0.2) -> float:
    """FLOP/s of a large square matrix product on a GPU: what MFU is a share of. Takes a few tenths of a second, once."""
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
