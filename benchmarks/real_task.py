"""Searchers side by side on the real tiny task: every leg is trained, no table. Written to docs/searchers.md.

Run from the repository root: python -m benchmarks.real --work FOLDER [--seeds 3] [--budget 14]. One worker. All train equally
many samples, begin with the same starting points and are judged by one hypervolume, as a share of that of everything that any
of them found. A leg is trained once, whichever searcher asks for it (its seed follows from the candidate), and kept in FOLDER:
the same command goes on after an interruption. MOASHA is left out: it lives in another environment and would have to be asked
for every leg.
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

from benchmarks.factorial import resident_of
from benchmarks.report import machine, table, write_section
from benchmarks.rivals import STOCK, stock_legs
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
from search.simulation.replay import Rationed
from search.space.bound_space import BoundSpace
from search.space.load import load_space

SPACE = Path(__file__).with_name("real.yaml")
OURS = "known_cost, rest and promote"
MARKS = (6.0, 8.0, 10.0, 12.0, 14.0)


class Bank:
    """Legs by candidate, trained by the seam that the search uses when they are first asked for."""

    def __init__(self, work: Path) -> None:
        from rsopt.latency.device import quiet_name
        from rsopt.latency.device_lock import DeviceLock
        from rsopt.latency.ledger import Ledger

        self._work = work
        self._resident = resident_of("tiny", str(mini_folder()))
        self._ledger = Ledger(work / "latency.jsonl")
        self._quiet = DeviceLock(quiet_name(self._resident.base.device))

    def leg(self, candidate: Candidate, start: float, stop: float) -> Measurement | Fault:
        """What training a candidate from one rung to the next finds; the rungs below must have been asked for."""
        from rsopt.errors import CandidateError
        from rsopt.trial.run_leg import run_leg

        number = int(candidate.key[:7], 16)  # the candidate's own, so that whoever asks shares it
        fault = self._work / f"fault-{number}-{stop:g}.json"
        if fault.exists():
            return Fault(**json.loads(fault.read_text()))
        try:
            return run_leg(
                Leg(number, candidate, start, stop, leg_seed(0, number)),
                self._resident,
                self._work,
                self._ledger,
                self._quiet,
            )
        except CandidateError as error:
            found = Fault(stop, error.kind, error.reason)  # type: ignore[arg-type]
            fault.write_text(json.dumps(found.to_json()))
            return found


@dataclass(frozen=True, slots=True)
class Rows(Mapping[str, Any]):
    """What `benchmarks.asktell` looks up, trained to the end when it does: FIFO stops nothing."""

    bank: Bank
    bound: BoundSpace
    rungs: tuple[float, ...]

    def __getitem__(self, key: str) -> dict[str, Any]:
        candidate = self.bound.candidate(json.loads(key))
        cider: list[float] = []
        metrics: dict[str, float] = {}
        for start, stop in zip((0.0, *self.rungs), self.rungs, strict=False):
            found = self.bank.leg(candidate, start, stop)
            if isinstance(found, Fault):
                break
            cider.append(found.metrics["cider"])
            metrics = found.metrics
        return {**metrics, "cider": cider, "seconds": [1.0] * len(self.rungs)}

    def __iter__(self) -> Iterator[str]:
        return iter(())  # no end of them

    def __len__(self) -> int:
        return 0


Point = tuple[float, tuple[float, ...]]  # compute behind it, in full trials; minimised objectives


def main() -> int:
    """Train, print and write the comparison."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of what is trained so far")
    p.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    p.add_argument("--budget", type=float, default=14.0, help="full trials each (default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path("docs/searchers.md"), help="(default: %(default)s)")
    options = p.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bank, space = Bank(options.work), load_space(SPACE)
    bound = space.bind(shape_of(base_config("tiny")))
    found: dict[str, list[list[Point]]] = {name: [] for name in (OURS, *STOCK)}
    for seed in range(options.seeds):
        found[OURS].append(ours(bank, bound, space, options.budget, seed))
        for name, sampler in STOCK.items():
            found[name].append(theirs(bank, bound, space, sampler, options.budget, seed))
        print(
            f"seed {seed}: " + ", ".join(f"{n} {len(points[-1])} to the end" for n, points in found.items()), flush=True
        )
    full = bank.leg(bound.full_depth()[1], space.rungs[-2], 1.0)
    assert isinstance(full, Measurement)
    values = minimised(space.objectives, full.metrics)
    assert values is not None
    corner = [v * o.reference_factor for v, o in zip(values, space.objectives, strict=True)]
    everything = [values for runs in found.values() for run in runs for _, values in run]
    whole = hypervolume(np.array(everything), corner)
    marks = [mark for mark in MARKS if mark <= options.budget]
    rows = []
    for name, runs in found.items():
        shares = [[_reached(run, mark, corner) / whole for run in runs] for mark in marks]
        rows.append([name, *(f"{median(s):.3f} ({', '.join(f'{x:.3f}' for x in s)})" for s in shares)])
    body = "Share of the hypervolume of all that was found, median (each seed), by full trials of training:\n\n"
    body += table(["searcher", *(f"after {mark:g}" for mark in marks)], rows)
    facts = {
        "machine": machine(),
        "space": f"{SPACE.name}, {space.description.lower()}",
        "budget": f"{options.budget:g} full trials of {bound.candidate(bound.starts[0]).recipe.epochs:g} epochs each",
        "trained": f"{len(everything)} candidates to the end, {len(set(everything))} of them different",
    }
    print(facts, body, sep="\n")
    write_section("searchers on the real tiny task", facts, body, options.out)
    return 0


def ours(bank: Bank, bound: BoundSpace, space: Any, budget: float, seed: int) -> list[Point]:
    """The default search, one worker."""
    estimator = CostEstimator(space.objectives, exact_costs("tiny", "float32"))
    optimizer = make_optimizer("known_cost", None, bound, seed, estimator)
    settings = SearchSettings(space.objectives, space.rungs, seed, trials=10**9, slots=1)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(Path(folder) / "study", bound, settings, optimizer)
        ended = simulate(
            Rationed(search, trained, budget),
            1,
            lambda leg, _: (1.0, bank.leg(leg.candidate, leg.start, leg.stop)),
            seed,
        )
        search.close()
    spent, points = 0.0, []
    for item in ended:
        spent += trained(item.leg)
        if isinstance(item.outcome, Measurement) and item.leg.last and item.leg.candidate.variant.lora is not None:
            points.append((spent, _values(space, item.outcome.metrics)))
    return points


def theirs(bank: Bank, bound: BoundSpace, space: Any, sampler: str, budget: float, seed: int) -> list[Point]:
    """Stock OptunaSearch under FIFO, one worker."""
    rows = Rows(bank, bound, space.rungs)
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


def trained(leg: Leg) -> float:
    """A leg's training in full trials: all have the same number of epochs. The untuned base takes none."""
    return 0.0 if leg.candidate.variant.lora is None else leg.stop - leg.start


def _values(space: Any, metrics: Mapping[str, float]) -> tuple[float, ...]:
    values = minimised(space.objectives, metrics)
    assert values is not None
    return values


def _reached(run: list[Point], compute: float, corner: list[float]) -> float:
    points = [values for spent, values in run if spent <= compute + 1e-9]
    return hypervolume(np.array(points), corner) if points else 0.0


if __name__ == "__main__":
    sys.exit(main())
