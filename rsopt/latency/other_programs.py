"""What other programs took of a CPU during a session of the latency protocol."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

    from rsopt.latency.protocol import Protocol


class OtherPrograms:
    """Counts from its creation on. On a GPU nothing is counted, since this thread waits for the device."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._counts = device.type == "cpu"
        self._alone_on_core = torch.get_num_threads() == 1  # with more threads, this one also waits for the others
        self._begin = self._now()

    def disturb(self, protocol: Protocol) -> list[str]:
        """Returns why a session is disturbed up to now: empty where other programs took no more than `protocol` allows."""
        if not self._counts:
            return []
        passed, thread, process, machine = (now - begin for now, begin in zip(self._now(), self._begin, strict=True))
        waited, used = 1 - thread / passed, (machine - process) / (passed * (psutil.cpu_count() or 1))
        reasons = []
        if self._alone_on_core and waited > protocol.waited:
            reasons.append(f"it waited {waited:.0%} of the time for a core")
        if used > protocol.used_by_others:
            reasons.append(f"other programs used {used:.0%} of the CPU")
        return reasons

    def _now(self) -> tuple[float, float, float, float]:
        """Seconds: wall time, and CPU time of this thread, of this process and of the whole machine, stolen time included."""
        times = psutil.cpu_times()
        machine = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        machine -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice already
        return time.perf_counter(), time.thread_time(), time.process_time(), machine
