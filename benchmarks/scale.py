"""Times the driver's decisions with many trials on many simulated workers. Written to docs/searchers.md.

Run from the repository root: python -m benchmarks.scale [--trials 2000] [--workers 100]. The space is `joint` over the shape
of OPT-2.7b. Results of legs come from a formula in no time, so all seconds are the driver's: proposing, deciding and writing
the journal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.report import DOCS, measured_by, write_section
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


class TimedSearch:
    """A search that times its decisions and records the number of trials at each."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.ask_seconds: list[tuple[int, float]] = []  # (trials created, seconds)
        self.tell_seconds: list[float] = []

    def ask(self) -> Leg | None:
        """See `Search.ask`."""
        begun = time.perf_counter()
        leg = self._search.ask()
        self.ask_seconds.append((len(self._search.history), time.perf_counter() - begun))
        return leg

    def tell(self, leg: Leg, outcome: Measurement) -> None:
        """See `Search.tell`."""
        begun = time.perf_counter()
        self._search.tell(leg, outcome)
        self.tell_seconds.append(time.perf_counter() - begun)

    def report_lost(self, leg: Leg) -> None:
        """See `Search.report_lost`."""
        self._search.report_lost(leg)

    @property
    def done(self) -> bool:
        """See `Search.done`."""
        return self._search.done

    def milliseconds_near(self, mark: int) -> list[float]:
        """Milliseconds of the decisions made near so many trials."""
        return [1e3 * s for n, s in self.ask_seconds if 0.9 * mark <= n <= 1.02 * mark]


def main() -> int:
    """Simulate, print and write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=2000, help="candidates (default: %(default)s)")
    p.add_argument("--workers", type=int, default=100, help="simulated workers (default: %(default)s)")
    p.add_argument("--sampler", default="known_cost", help="(default: %(default)s)")
    p.add_argument("--out", type=Path, default=DOCS / "searchers.md", help="Markdown file to write (default: docs/searchers.md)")
    options = p.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        search = TimedSearch(open_search(Path(folder) / "study", options.trials, options.workers, options.sampler))
        ended = simulate(search, options.workers, worker(load_space("joint")), seed=0)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begun
        size = (Path(folder) / "study" / "journal.log").stat().st_size / 1e6
    marks = [mark for mark in MARKS if mark <= options.trials] or [options.trials]
    times = [(search.milliseconds_near(mark), mark) for mark in marks]
    decisions = [f"{median(ms):.0f} ms (longest {max(ms):.0f}) at {mark} trials" for ms, mark in times]
    body = (
        f"{seconds:.0f} s for {len(ended)} legs, journal {size:.1f} MB, `tell` {1e3 * median(search.tell_seconds):.1f} ms at the "
        f"median. A decision takes at the median {', '.join(decisions)}.\n"
    )
    sys.stdout.write(body)
    heading = f"{options.trials} trials on {options.workers} simulated workers, {options.sampler}"
    write_section(heading, [measured_by("python -m benchmarks.scale")], body, options.out)
    return 0


def open_search(folder: Path, trials: int, workers: int, sampler: str, seed: int = 0) -> Search:
    """A search over the shape and costs of OPT-2.7b.

    Args:
        folder: of the study.
        trials: candidates beside the references.
        workers: legs in flight at most.
        sampler: its name.
        seed: of the sampler.
    """
    space = load_space("joint")
    bound = _bound(space)
    estimator = CostEstimator(space.objectives, exact_costs("opt-2.7b", "bfloat16"))
    optimizer = make_optimizer(sampler, None, bound, seed, estimator, Limits(params=3_700_000_000))
    settings = SearchSettings(space.objectives, space.rungs, seed, trials, workers)
    return Search(folder, bound, settings, optimizer)


def _bound(space: Space) -> BoundSpace:
    from rsopt.model.configs import base_config, shape_of

    shape = shape_of(base_config("opt-2.7b"))
    return space.bind(shape, MeasuredRankings.placeholder(shape.llm_layers))


def worker(space: Space) -> object:
    """A simulated worker: results follow from depths and learning rate, as in `benchmarks.synthetic_table`."""
    bound = _bound(space)

    def run(leg: Leg, rng: np.random.Generator) -> tuple[float, Outcome]:
        variant, recipe = leg.candidate.variant, leg.candidate.recipe
        params = {
            "llm_layers": len(variant.llm_layers),
            "qformer_layers": len(variant.qformer_layers),
            "lora": variant.lora.scope if variant.lora else "llm",
            "lr_factor": recipe.lr / 1.5625e-4,
        }
        cider = curve(params, bound.shape, (leg.stop,), rng)[0]
        depths = variant.architecture()
        metrics = {"cider": cider}
        if leg.last:
            latency = 40 + 2.1 * depths.llm_layers + 0.8 * depths.qformer_layers + 1.1 * depths.vision_layers
            metrics |= {"latency_ms": latency, "params": 1e9 + 8e7 * depths.llm_layers + 2.5e7 * depths.vision_layers}
        seconds = 600 * (leg.stop - leg.start) * recipe.epochs * rng.uniform(0.8, 1.2)
        return seconds, Measurement(leg.stop, metrics, {"train": seconds})

    return run


if __name__ == "__main__":
    sys.exit(main())
