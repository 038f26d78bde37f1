"""Stopwatch: where the time of a leg goes. The device's pending work counts towards the phase that started it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """`seconds` by phase. `assigned` (time.perf_counter) is when the worker got the leg, by default now."""

    def __init__(self, device: torch.device, assigned: float | None = None) -> None:
        self.device, self.assigned = device, time.perf_counter() if assigned is None else assigned
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the duration of the block to `name`."""
        begin = time.perf_counter()
        yield
        self.settle()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def mark(self, name: str) -> None:
        """Seconds since the leg was assigned, at the first call with this name; later calls cost nothing."""
        if name not in self.seconds:
            self.settle()
            self.seconds[name] = time.perf_counter() - self.assigned

    def settle(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
