"""Searchers that are not ours, each as its own package drives it, over a recorded table or anything that looks like one.

Ray's OptunaSearch under FIFO, and Syne Tune's MOASHA by `benchmarks/moasha_bridge.py` in an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.asktell import drive, key_of
from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement
from search.simulation.event_loop import Finished
from search.simulation.recording import Recording
from search.space.bound_space import BoundSpace
from search.space.distributions import options as options_of

STOCK = {"TPE, FIFO (stock OptunaSearch)": "tpe", "NSGA-II, FIFO (stock OptunaSearch)": "nsga2"}
MOASHA = "MOASHA (Syne Tune)"


def task_of(recording: Recording, budget: float) -> dict[str, Any]:
    """The table as plain data: what searchers of other packages are driven with."""
    bound = recording.bound
    if bound.when:
        raise SystemExit("a space with conditionals cannot be put to searchers that know none")
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


def stock_legs(
    bound: BoundSpace, task: Mapping[str, Any], sampler: str, workers: int, seed: int
) -> list[tuple[str, int, float]]:
    """Ray's OptunaSearch under FIFO: every trial runs to its end and is told there, as Tune does."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make: Callable[..., Any] = {"tpe": optuna.samplers.TPESampler, "nsga2": optuna.samplers.NSGAIISampler}[sampler]

    def space(trial: Any) -> None:
        bound.suggest(trial)

    names = [name for name, _ in task["objectives"]]
    modes = ["max" if sign < 0 else "min" for _, sign in task["objectives"]]
    # What Ray itself builds from seed= is TPESampler(seed); given explicitly, so that NSGA-II gets the same treatment.
    searcher = OptunaSearch(
        space=space, metric=names, mode=modes, sampler=make(seed=seed), points_to_evaluate=task["starts"]
    )

    def ask(number: int) -> str:
        params = searcher.suggest(str(number))
        return key_of(task["alias"].get(key_of(params), params))

    def report(number: int, key: str, at: int, row: Mapping[str, Any]) -> bool:
        if at < len(task["rungs"]) - 1:
            return True
        result = {name: row["cider"][at] if name == "cider" else row[name] for name in names}
        searcher.on_trial_complete(str(number), result)
        return False

    return drive(ask, report, lambda number: searcher.on_trial_complete(str(number), error=True), task, workers)


def moasha_legs(python: str, task: dict[str, Any], workers: int, seed: int) -> list[tuple[str, int, float]]:
    """Legs of one seed, from the bridge in the other environment."""
    bridge = Path(__file__).with_name("moasha_bridge.py")
    asked = json.dumps({"task": task, "workers": workers, "seed": seed})
    done = subprocess.run([python, str(bridge)], input=asked, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"the MOASHA bridge failed: {done.stderr.strip().splitlines()[-1]}")
    return [(key, at, end) for key, at, end in json.loads(done.stdout.splitlines()[-1])]


def finished(recording: Recording, legs: list[tuple[str, int, float]]) -> list[Finished]:
    """Legs by key as our simulator writes them."""
    found = []
    for number, (key, at, end) in enumerate(legs):
        candidate = recording.bound.candidate(json.loads(key))
        row, rungs = recording.row(candidate), recording.rungs
        leg = Leg(number, candidate, rungs[at - 1] if at else 0.0, rungs[at], 0)
        outcome: Measurement | Fault = (
            Measurement(leg.stop, recording.metrics(candidate, at), {})
            if at < len(row.cider)
            else Fault(leg.stop, "exception", row.fault or "")
        )
        found.append(Finished(0.0, end, leg, outcome))
    return found
