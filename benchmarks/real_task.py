"""Compares searchers on the real tiny task: every leg is trained. Written to docs/searchers.md.

Run from the repository root: python -m benchmarks.real_task --work FOLDER [--seeds 3] [--budget 14]. All searchers have one
worker, the same budget of training and the same starting points; their score is the hypervolume as a share of that of all
candidates trained by any of them. A leg is trained once for all searchers (its seed follows from the candidate) and stored in
FOLDER, so the same command continues after an interruption. MOASHA is left out since it runs in a separate environment.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.factorial import worker_context
from benchmarks.other_searchers import STOCK, stock_legs
from benchmarks.report import DOCS, measured_by, table, write_section
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement, minimised
from rsopt.data.generated.mini import mini_folder
from rsopt.model.configs import base_config, shape_of
from search.engine.legs import leg_seed
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.exact_costs import exact_costs
from search.optimizer.factory import make_optimizer
from search.optimizer.pareto import hypervolume
from search.simulation.event_loop import simulate
from search.simulation.replay import BudgetedSearch
from search.space.bound_space import BoundSpace
from search.space.load import Space, load_space

SPACE = Path(__file__).with_name("real_task.yaml")
OURS = "known_cost, promote"
MARKS = (6.0, 10.0, 14.0)


class TrainedLegs:
    """Legs by candidate; each is trained as in a search when it is first needed, and stored."""

    def __init__(self, work: Path) -> None:
        from rsopt.latency.device import lock_name
        from rsopt.latency.device_lock import DeviceLock
        from rsopt.latency.ledger import Ledger

        self._work = work
        self._worker = worker_context("tiny", str(mini_folder()))
        self._ledger = Ledger(work / "latency.jsonl")
        self._device_lock = DeviceLock(lock_name(self._worker.base.device))

    def train(self, candidate: Candidate, start: float, stop: float) -> Measurement | Fault:
        """Train a candidate from one rung to the next, or return the stored result; lower rungs must come first."""
        from rsopt.errors import CandidateError
        from rsopt.trial.context import TrialContext
        from rsopt.trial.run_leg import run_leg
        from rsopt.trial.stopwatch import Stopwatch
        from rsopt.trial.variant_trainee import VariantTrainee

        number = int(candidate.key[:7], 16)  # the same for all searchers
        file = self._work / f"fault-{number}-{stop:g}.json"
        if file.exists():
            return Fault(**json.loads(file.read_text()))
        try:
            leg, stopwatch = (Leg(number, candidate, start, stop, leg_seed(0, number)), Stopwatch(self._worker.base.device))
            context = TrialContext(leg, self._worker, self._work, self._ledger, self._device_lock, stopwatch)
            return run_leg(context, VariantTrainee)
        except CandidateError as error:
            fault = Fault(stop, error.kind, error.reason)  # type: ignore[arg-type]
            file.write_text(json.dumps(fault.to_json()))
            return fault


@dataclass(frozen=True, slots=True)
class TrainedRows(Mapping[str, Any]):
    """Rows for `benchmarks.simulated_runner`; looking one up trains its candidate to the end, since FIFO stops none."""

    legs: TrainedLegs
    bound: BoundSpace
    rungs: tuple[float, ...]

    def __getitem__(self, key: str) -> dict[str, Any]:
        candidate = self.bound.candidate(json.loads(key))
        cider: list[float] = []
        metrics: dict[str, float] = {}
        for start, stop in zip((0.0, *self.rungs), self.rungs, strict=False):
            outcome = self.legs.train(candidate, start, stop)
            if isinstance(outcome, Fault):
                break
            cider.append(outcome.metrics["cider"])
            metrics = outcome.metrics
        return {**metrics, "cider": cider, "seconds": [1.0] * len(self.rungs)}

    def __iter__(self) -> Iterator[str]:
        return iter(())  # the space is not countable

    def __len__(self) -> int:
        return 0


Point = tuple[float, tuple[float, ...]]  # full trials of training up to it, minimised objectives


def main() -> int:
    """Train, print and write the comparison."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the trained legs")
    p.add_argument("--seeds", type=int, default=3, help="runs of each searcher (default: %(default)s)")
    p.add_argument("--budget", type=float, default=14.0, help="training of a run, in full trials (default: %(default)s)")
    p.add_argument("--out", type=Path, default=DOCS / "searchers.md", help="Markdown file to write (default: docs/searchers.md)")
    options = p.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    legs, space = TrainedLegs(options.work), load_space(SPACE)
    bound = space.bind(shape_of(base_config("tiny")))
    runs: dict[str, list[list[Point]]] = {name: [] for name in (OURS, *STOCK)}
    for seed in range(options.seeds):
        runs[OURS].append(run_known_cost(legs, bound, space, options.budget, seed))
        for name, sampler in STOCK.items():
            runs[name].append(run_stock(legs, bound, space, sampler, options.budget, seed))
        print(f"seed {seed}: " + ", ".join(f"{n} {len(points[-1])} to the end" for n, points in runs.items()), flush=True)
    full = legs.train(bound.full_depth()[1], space.rungs[-2], 1.0)
    assert isinstance(full, Measurement)
    values = minimised(space.objectives, full.metrics)
    assert values is not None
    corner = [v * o.reference_factor for v, o in zip(values, space.objectives, strict=True)]
    everything = [values for points in runs.values() for run in points for _, values in run]
    whole = hypervolume(np.array(everything), corner)
    marks = [mark for mark in MARKS if mark <= options.budget]
    rows = []
    for name, points in runs.items():
        shares = [[_hypervolume(run, mark, corner) / whole for run in points] for mark in marks]
        rows.append([name, *(f"{median(s):.3f} ({', '.join(f'{x:.3f}' for x in s)})" for s in shares)])
    body = "Share of the hypervolume of all trained candidates, median (each seed), by full trials:\n\n"
    body += table(["searcher", *(f"after {mark:g}" for mark in marks)], rows)
    facts = [
        measured_by(f"python -m benchmarks.real_task --seeds {options.seeds}"),
        f"space `benchmarks/{SPACE.name}`, every leg trained; budget: {options.budget:g} full trials; {len(everything)} "
        f"candidates trained to the end, {len(set(everything))} different",
    ]
    print(*facts, body, sep="\n")
    write_section("searchers on the real tiny task", facts, body, options.out)
    return 0


def run_known_cost(legs: TrainedLegs, bound: BoundSpace, space: Space, budget: float, seed: int) -> list[Point]:
    """Run the default search with one worker; returns its fully trained candidates.

    Args:
        legs: trains them.
        bound: the space over tiny.
        space: the space.
        budget: in full trials.
        seed: of the sampler.
    """
    estimator = CostEstimator(space.objectives, exact_costs("tiny", "float32"))
    optimizer = make_optimizer("known_cost", None, bound, seed, estimator)
    settings = SearchSettings(space.objectives, space.rungs, seed, trials=10**9, slots=1)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(Path(folder) / "study", bound, settings, optimizer)
        ended = simulate(
            BudgetedSearch(search, full_trials, budget),
            1,
            lambda leg, _: (1.0, legs.train(leg.candidate, leg.start, leg.stop)),
            seed,
        )
        search.close()
    spent, points = 0.0, []
    for item in ended:
        spent += full_trials(item.leg)
        if isinstance(item.outcome, Measurement) and item.leg.last and item.leg.candidate.variant.lora is not None:
            points.append((spent, _values(space, item.outcome.metrics)))
    return points


def run_stock(legs: TrainedLegs, bound: BoundSpace, space: Space, sampler: str, budget: float, seed: int) -> list[Point]:
    """Run stock OptunaSearch under FIFO with one worker; returns its fully trained candidates.

    Args:
        legs: trains them.
        bound: the space over tiny.
        space: the space.
        sampler: tpe or nsga2.
        budget: in full trials.
        seed: of the sampler.
    """
    rows = TrainedRows(legs, bound, space.rungs)
    task = {
        "rows": rows,
        "alias": {},
        "objectives": [[o.name, o.minimised(1.0)] for o in space.objectives],
        "starts": list(bound.starts),
        "rungs": list(space.rungs),
        "budget": budget,
    }
    spent, points = 0.0, []
    for key, at, _ in stock_legs(bound, task, sampler, 1, seed):
        spent += space.rungs[at] - (space.rungs[at - 1] if at else 0.0)
        row = rows[key]
        if at == len(space.rungs) - 1 and len(row["cider"]) > at:
            points.append((spent, _values(space, {**row, "cider": row["cider"][at]})))
    return points


def full_trials(leg: Leg) -> float:
    """Training of a leg in full trials, which all have the same number of epochs; 0 for the untuned base."""
    return 0.0 if leg.candidate.variant.lora is None else leg.stop - leg.start


def _values(space: Space, metrics: Mapping[str, float]) -> tuple[float, ...]:
    values = minimised(space.objectives, metrics)
    assert values is not None
    return values


def _hypervolume(run: list[Point], compute: float, corner: list[float]) -> float:
    points = [values for spent, values in run if spent <= compute + 1e-9]
    return hypervolume(np.array(points), corner) if points else 0.0


if __name__ == "__main__":
    sys.exit(main())
