"""How fast this machine multiplies matrices: the pace behind an expected time before anything was trained here."""

from __future__ import annotations

import time

import torch


def matmul_pace(seconds: float = 0.2) -> tuple[float, str]:
    """FLOP/s of a square matrix product (bfloat16 on the GPU there is, else float32 on one core) and what it was measured on."""
    if torch.cuda.is_available():
        from rsopt.speed import measured_peak

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
