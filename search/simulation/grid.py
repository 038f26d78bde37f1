"""Replays a grid of setups and seeds over a table, in several processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from search.simulation.recording import Recording, load_recording
from search.simulation.replay import Curve, Setup, replay

LEVELS = (0.90, 0.95, 0.97, 0.99)


@dataclass(frozen=True, slots=True)
class Cell:
    """One setup over all seeds."""

    setup: Setup
    curves: tuple[Curve, ...]

    def to_reach(self, level: float) -> tuple[float, float, float]:
        """Returns the quartiles of the compute (full trials) that reaches a share; infinite where it was not reached."""
        return quartiles([curve.to_reach(level) for curve in self.curves])

    def at(self, compute: float, split: str = "val") -> tuple[float, float, float]:
        """Returns the quartiles of the share reached with this compute."""
        return quartiles([curve.at(compute, split) for curve in self.curves])

    def summary(self) -> dict[str, Any]:
        """Returns the cell as `--json` prints it."""
        finite = lambda values: [None if math.isinf(v) else round(v, 3) for v in values]  # noqa: E731
        marks = [m for m in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0) if m <= self.setup.budget] or [self.setup.budget]
        return {
            "sampler": self.setup.sampler,
            "schedule": self.setup.schedule,
            "workers": self.setup.workers,
            "seeds": len(self.curves),
            "weather": asdict(self.setup.disturbances),
            "compute_to_reach": {f"{level:.2f}": finite(self.to_reach(level)) for level in LEVELS},
            "share_at": {f"{m:g}": finite(self.at(m)) for m in marks},
            "test_share_at": {f"{m:g}": finite(self.at(m, "test")) for m in marks},
            "simulated_s": finite(quartiles([curve.time_s[-1] if curve.time_s else 0.0 for curve in self.curves])),
        }


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the 25th, 50th and 75th percentile as order statistics, so that values may be infinite (never reached)."""
    low, median, high = np.percentile(values, [25, 50, 75], method="inverted_cdf")
    return float(low), float(median), float(high)


def run_grid(
    table: str, setups: Sequence[Setup], seeds: int, processes: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[Cell]:
    """Yields the cells in order. The same table, setups and seeds give the same cells on any number of processes.

    Args:
        table: a shipped table or a file.
        setups: one cell each.
        seeds: number of seeds of each setup.
        processes: replays at a time.
        progress: called with the number of replays that ended and of all.
    """
    jobs = [(at, seed) for at in range(len(setups)) for seed in range(seeds)]
    curves: dict[tuple[int, int], Curve] = {}
    with ProcessPoolExecutor(processes) as pool:
        futures = {pool.submit(_one, table, setups[at], seed): (at, seed) for at, seed in jobs}
        for future in as_completed(futures):
            curves[futures[future]] = future.result()
            if progress is not None:
                progress(len(curves), len(jobs))
    for at, setup in enumerate(setups):
        yield Cell(setup, tuple(curves[at, seed] for seed in range(seeds)))


@cache
def _table(name: str) -> Recording:
    return load_recording(name)


def _one(table: str, setup: Setup, seed: int) -> Curve:
    return replay(_table(table), setup, seed)
