"""Many trials on many simulated workers with the default sampler: does the driver keep up? Written to docs/searchers.md.

Run from the repository root: python -m benchmarks.scale [--trials 2000] [--workers 100]. The space is `joint`, conditionals and
continuous rates included, over the shape of OPT-2.7b; what a leg finds comes from a formula in no time, so every second is
the driver's: deciding, proposing, and writing the journal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.report import machine, table, write_section
from benchmarks.synthetic_table import curve
from rsopt.core.candidate import Leg
from rsopt.core.objectives import Measurement
from rsopt.core.ranking import MeasuredRankings
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.exact_costs import exact_costs
from search.optimizer.factory import make_optimizer
from search.simulation.event_loop import Outcome, simulate
from search.space.bound_space import BoundSpace
from search.space.load import Space, load_space
from search.study.limits import Limits

MARKS = (100, 1000, 2000)


class Timed:
    """A search whose decisions are timed, by how many trials had been created."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.seconds: list[tuple[int, float]] = []
        self.told: list[tuple[int, float]] = []

    def ask(self) -> Leg | None:
        """See `Search.ask`."""
        begun = time.perf_counter()
        leg = self._search.ask()
        self.seconds.append((len(self._search.history), time.perf_counter() - begun))
        return leg

    def tell(self, leg: Leg, outcome: Measurement) -> None:
        """See `Search.tell`."""
        begun = time.perf_counter()
        self._search.tell(leg, outcome)
        self.told.append((len(self._search.history), time.perf_counter() - begun))

    def report_lost(self, leg: Leg) -> None:
        """See `Search.report_lost`."""
        self._search.report_lost(leg)

    @property
    def done(self) -> bool:
        """See `Search.done`."""
        return self._search.done

    def around(self, mark: int) -> list[float]:
        """Seconds of the decisions near so many trials."""
        return [s for n, s in self.seconds if 0.9 * mark <= n <= 1.02 * mark]


def main() -> int:
    """Simulate, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=2000, help="(default: %(default)s)")
    p.add_argument("--workers", type=int, default=100, help="(default: %(default)s)")
    p.add_argument("--sampler", default="known_cost", help="(default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path("docs/searchers.md"), help="(default: %(default)s)")
    options = p.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        search = Timed(open_search(Path(folder) / "study", options.trials, options.workers, options.sampler))
        ended = simulate(search, options.workers, worker(load_space("joint")), seed=0)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begun
        size = (Path(folder) / "study" / "journal.log").stat().st_size / 1e6
    marks = [mark for mark in MARKS if mark <= options.trials] or [options.trials]
    rows = [
        [mark, f"{1e3 * median(search.around(mark)):.0f}", f"{1e3 * max(search.around(mark)):.0f}"] for mark in marks
    ]
    facts = {
        "machine": machine(),
        "whole run": f"{seconds:.0f} s for {len(ended)} legs, journal {size:.1f} MB",
        "tell": f"{1e3 * median(s for _, s in search.told):.1f} ms at the median",
    }
    body = table(["trials created", "median ms a decision", "longest ms"], rows)
    print(facts, rows, sep="\n")
    write_section(
        f"{options.trials} trials on {options.workers} simulated workers, {options.sampler}", facts, body, options.out
    )
    return 0


def open_search(folder: Path, trials: int, workers: int, sampler: str, seed: int = 0) -> Search:
    """The search as a session makes it, over OPT-2.7b's shape and costs."""
    space = load_space("joint")
    bound = _bound(space)
    estimator = CostEstimator(space.objectives, exact_costs("opt-2.7b", "bfloat16"))
    optimizer = make_optimizer(sampler, None, bound, seed, estimator, Limits(params=3_700_000_000))
    settings = SearchSettings(space.objectives, space.rungs, seed, trials, workers)
    return Search(folder, bound, settings, optimizer)


def _bound(space: Space) -> BoundSpace:
    from rsopt.model.configs import base_config, shape_of

    shape = shape_of(base_config("opt-2.7b"))
    return space.bind(shape, MeasuredRankings.stand_in(shape.llm_layers))


def worker(space: Space) -> object:
    """What a simulated worker makes of a leg: depths and rate decide, as in `benchmarks.synthetic_table`."""
    bound = _bound(space)

    def run(leg: Leg, rng: np.random.Generator) -> tuple[float, Outcome]:
        made, recipe = leg.candidate.variant, leg.candidate.recipe
        params = {
            "llm_layers": len(made.llm_layers),
            "qformer_layers": len(made.qformer_layers),
            "lora": made.lora.scope if made.lora else "llm",
            "lr_factor": recipe.lr / 1.5625e-4,
        }
        cider = curve(params, bound.shape, (leg.stop,), rng)[0]
        depths = made.architecture()
        metrics = {"cider": cider}
        if leg.last:
            latency = 40 + 2.1 * depths.llm_layers + 0.8 * depths.qformer_layers + 1.1 * depths.vision_layers
            metrics |= {"latency_ms": latency, "params": 1e9 + 8e7 * depths.llm_layers + 2.5e7 * depths.vision_layers}
        seconds = 600 * (leg.stop - leg.start) * recipe.epochs * rng.uniform(0.8, 1.2)
        return seconds, Measurement(leg.stop, metrics, {"train": seconds})

    return run


if __name__ == "__main__":
    sys.exit(main())
