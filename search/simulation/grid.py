"""The matrix of `python -m search.simulate`: samplers x schedules x workers x seeds over a table, in processes of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.simulation.recording import Recording, load_recording
from search.simulation.replay import Curve, Setup, replay

LEVELS = (0.90, 0.95, 0.97, 0.99)


@dataclass(frozen=True, slots=True)
class Cell:
    """One setup over all seeds."""

    setup: Setup
    curves: tuple[Curve, ...]

    def to_reach(self, level: float) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the compute (full trials) to reach a share; infinite if it was not."""
        return quartiles([curve.to_reach(level) for curve in self.curves])

    def at(self, compute: float, split: str = "val") -> tuple[float, float, float]:
        """Quartiles of the share reached by then."""
        return quartiles([curve.at(compute, split) for curve in self.curves])

    def summary(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        finite = lambda values: [None if math.isinf(v) else round(v, 3) for v in values]  # noqa: E731
        marks = [m for m in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0) if m <= self.setup.budget] or [self.setup.budget]
        return {
            "sampler": self.setup.sampler,
            "schedule": self.setup.schedule,
            "workers": self.setup.workers,
            "seeds": len(self.curves),
            "weather": asdict(self.setup.weather),
            "compute_to_reach": {f"{level:.2f}": finite(self.to_reach(level)) for level in LEVELS},
            "share_at": {f"{m:g}": finite(self.at(m)) for m in marks},
            "test_share_at": {f"{m:g}": finite(self.at(m, "test")) for m in marks},
            "simulated_s": finite(quartiles([curve.time_s[-1] if curve.time_s else 0.0 for curve in self.curves])),
        }


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """25th, 50th and 75th percentile; order statistics, so that infinities (never reached) may be among them."""
    found: NDArray[np.float64] = np.percentile(values, [25, 50, 75], method="inverted_cdf")
    return float(found[0]), float(found[1]), float(found[2])


def run_matrix(
    table: str, setups: Sequence[Setup], seeds: int, processes: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[Cell]:
    """Cells in order. The same table, setups and seeds give the same cells on any number of processes."""
    jobs = [(at, seed) for at in range(len(setups)) for seed in range(seeds)]
    found: dict[tuple[int, int], Curve] = {}
    with ProcessPoolExecutor(processes) as pool:
        futures = {pool.submit(_one, table, setups[at], seed): (at, seed) for at, seed in jobs}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            if progress is not None:
                progress(len(found), len(jobs))
    for at, setup in enumerate(setups):
        yield Cell(setup, tuple(found[at, seed] for seed in range(seeds)))


@cache
def _table(name: str) -> Recording:
    return load_recording(name)


def _one(table: str, setup: Setup, seed: int) -> Curve:
    return replay(_table(table), setup, seed)
