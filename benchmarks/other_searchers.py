"""Searchers of other packages over a recorded table: Ray's OptunaSearch under FIFO, and Syne Tune's MOASHA.

MOASHA runs in a separate environment (`benchmarks.moasha_bridge`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.simulated_runner import SimulatedLeg, key_of, run_searcher
from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement
from search.simulation.event_loop import Finished
from search.simulation.recording import Recording
from search.space.bound_space import BoundSpace
from search.space.distributions import options as options_of

# Row of a report -> Optuna's sampler.
STOCK = {"OptunaSearch TPE, FIFO": "tpe", "OptunaSearch NSGA-II, FIFO": "nsga2"}
MOASHA = "Syne Tune MOASHA"
_ROOT = Path(__file__).parents[1]


def task_of(recording: Recording, budget: float) -> dict[str, Any]:
    """The table as plain data for searchers of other packages; `budget` is in full trials."""
    bound = recording.bound
    if bound.when:
        raise SystemExit("other searchers do not support a space with conditional parameters")
    rows = {}
    alias = {}
    for params in bound.combinations():
        candidate = bound.candidate(params)
        row = recording.row(candidate)
        assert row.params is not None
        alias[key_of(params)] = row.params
        rows[key_of(row.params)] = {
            "cider": list(row.cider),
            "seconds": [
                recording.seconds(Leg(0, candidate, start, stop, 0))
                for start, stop in zip((0.0, *recording.rungs), recording.rungs, strict=False)
            ],
            "latency_ms": row.latency_ms,
            **row.figures,
        }
    return {
        "rows": rows,
        "alias": {key: params for key, params in alias.items() if key != key_of(params)},
        "options": {name: options_of(over) for name, over in bound.distributions.items()},
        "objectives": [[o.name, o.minimised(1.0)] for o in recording.objectives],
        "starts": list(bound.starts),
        "rungs": list(recording.rungs),
        "budget": budget,
    }


def stock_legs(bound: BoundSpace, task: Mapping[str, Any], sampler: str, workers: int, seed: int) -> list[SimulatedLeg]:
    """Run Ray's OptunaSearch under FIFO: as in Tune, it is told only the final result of a trial.

    Args:
        bound: the space.
        task: see `task_of`.
        sampler: tpe or nsga2.
        workers: that run at the same time.
        seed: of the sampler.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make: Callable[..., Any] = {"tpe": optuna.samplers.TPESampler, "nsga2": optuna.samplers.NSGAIISampler}[sampler]

    def space(trial: Any) -> None:
        bound.suggest(trial)

    names = [name for name, _ in task["objectives"]]
    modes = ["max" if sign < 0 else "min" for _, sign in task["objectives"]]
    # Ray itself would build TPESampler(seed) from seed=; passing the sampler treats NSGA-II alike.
    searcher = OptunaSearch(space=space, metric=names, mode=modes, sampler=make(seed=seed), points_to_evaluate=task["starts"])

    def ask(number: int) -> str:
        params = searcher.suggest(str(number))
        return key_of(task["alias"].get(key_of(params), params))

    def report(number: int, key: str, at: int, row: Mapping[str, Any]) -> bool:
        if at < len(task["rungs"]) - 1:
            return True
        result = {name: row["cider"][at] if name == "cider" else row[name] for name in names}
        searcher.on_trial_complete(str(number), result)
        return False

    return run_searcher(ask, report, lambda number: searcher.on_trial_complete(str(number), error=True), task, workers)


def moasha_legs(python: str, task: dict[str, Any], workers: int, seed: int) -> list[SimulatedLeg]:
    """Run MOASHA with one seed by `python`, the interpreter of an environment with syne-tune."""
    request = json.dumps({"task": task, "workers": workers, "seed": seed})
    command = [python, "-m", "benchmarks.moasha_bridge"]
    done = subprocess.run(command, input=request, text=True, capture_output=True, cwd=_ROOT)
    if done.returncode:
        raise SystemExit(f"the MOASHA bridge failed: {done.stderr.strip().splitlines()[-1]}")
    return [(key, at, end) for key, at, end in json.loads(done.stdout.splitlines()[-1])]


def finished(recording: Recording, legs: list[SimulatedLeg]) -> list[Finished]:
    """The legs in the form of this project's simulator."""
    ended = []
    for number, (key, at, end) in enumerate(legs):
        candidate = recording.bound.candidate(json.loads(key))
        row, rungs = recording.row(candidate), recording.rungs
        leg = Leg(number, candidate, rungs[at - 1] if at else 0.0, rungs[at], 0)
        outcome: Measurement | Fault = (
            Measurement(leg.stop, recording.metrics(candidate, at), {})
            if at < len(row.cider)
            else Fault(leg.stop, "exception", row.fault or "")
        )
        ended.append(Finished(0.0, end, leg, outcome))
    return ended
