"""Runs Syne Tune's MOASHA over a recorded table, in an environment with syne-tune; reads and writes JSON.

Called by `benchmarks.other_searchers`: PYTHON -m benchmarks.moasha_bridge < task.json > legs.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from benchmarks.simulated_runner import SimulatedLeg, key_of, run_searcher


def run(task: dict[str, Any], workers: int, seed: int) -> list[SimulatedLeg]:
    """Run MOASHA with one seed; returns its legs."""
    import numpy as np
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    np.random.seed(seed)
    # MOASHA counts in whole units: rungs 1/4, 1/2 and 1 are 1, 2 and 4.
    units = [round(rung / task["rungs"][0]) for rung in task["rungs"]]
    space = {name: choice(options) for name, options in task["options"].items()}
    names = [name for name, _ in task["objectives"]]
    scheduler = MOASHA(
        space,
        metrics=names,
        time_attr="units",
        max_t=units[-1],
        grace_period=units[0],
        reduction_factor=units[1] / units[0] if len(units) > 1 else 3,
        random_seed=seed,
    )
    trials: dict[int, Trial] = {}

    def ask(number: int) -> str:
        starts = task["starts"]
        config = dict(starts[number] if number < len(starts) else scheduler.suggest().config)
        trials[number] = Trial(number, config, datetime.now())
        scheduler.on_trial_add(trials[number])
        return key_of(task["alias"].get(key_of(config), config))

    def report(number: int, key: str, at: int, row: Mapping[str, Any]) -> bool:
        result = {"units": units[at]}
        for name, sign in task["objectives"]:
            result[name] = sign * (row["cider"][at] if name == "cider" else row[name])
        if at == len(units) - 1:
            scheduler.on_trial_complete(trials[number], result)
            return False
        return scheduler.on_trial_result(trials[number], result) == "CONTINUE"

    return run_searcher(ask, report, lambda number: scheduler.on_trial_remove(trials[number]), task, workers)


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump(run(request["task"], request["workers"], request["seed"]), sys.stdout)
