"""Searches in which every measurement is computed from its leg, in place of training."""

from dataclasses import replace

import numpy as np

from rsopt.core.baseline import BaselineScore
from rsopt.core.objectives import Measurement
from rsopt.core.variant import BaseShape
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.space.load import load_space
from search.study.settings import Settings, StudyMetadata

SHAPE = BaseShape(4, 6, 8)
PARAMETERS = "{llm_layers: {layers: [0.5, 1.0]}, lora: {choice: [llm, both]}, lr: {float: [1.0e-4, 1.0e-2], log: true}}"
METADATA = StudyMetadata(("cider", "latency_ms", "params"), {"blind": BaselineScore(3.0, 1.0)}, "data", 0, False, {})


def make_space(folder, parameters=PARAMETERS, starts="[{llm_layers: 6, lora: llm, lr: 1.0e-3}, {llm_layers: 7}]"):
    """A space named `s` with two rungs, written to `folder` and read from there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "space.yaml"
    path.write_text(
        f"name: s\nobjectives: [cider, latency_ms, params]\nparameters: {parameters}\nstarts: {starts}\nrungs: [0.5, 1]\n"
    )
    return load_space(path)


def settings_of(name, **changes):
    """Settings of a study over the space of `make_space`."""
    settings = Settings(name, "s", "tiny", None, 6, "known_cost", 0, 1.0, None, "sqlite:///x", "runs", None, False)
    return replace(settings, **changes)


def open_search(folder, space=None, sampler="tpe", scheduler=None, limit=None, budget=None, keep=lambda: None, **settings):
    """Create or reopen the search in `folder`/study.

    Args:
        folder: holds the study's folder.
        space: of `make_space` by default.
        sampler: its name.
        scheduler: trains every candidate to the end by default.
        limit: refuses a candidate with a reason, or None.
        budget: hours; none by default.
        keep: called after each record.
        settings: differences from six trials, one at a time.
    """
    space = space or make_space(folder)
    settings = SearchSettings(space.objectives, **{"seed": 3, "trials": 6, "slots": 1, "rungs": space.rungs, **settings})
    bound, estimator = space.bind(SHAPE), CostEstimator(space.objectives)
    optimizer = make_optimizer(sampler, "end", bound, settings.seed, estimator)
    optimizer = replace(optimizer, scheduler=scheduler or optimizer.scheduler, limit=limit)
    return Search(folder / "study", bound, settings, optimizer, budget, keep)


def measure(leg):
    """Metrics from the leg alone, so that equal legs measure equal."""
    depth = len(leg.candidate.variant.llm_layers)
    noise = np.random.default_rng(leg.seed).normal()
    return Measurement(leg.stop, {"cider": leg.stop * (9 * depth + noise), "latency_ms": 5.0 * depth, "params": 1e6 * depth}, {})


def run_legs(search, outcome=measure, legs=1000):
    """Ask for a leg and report its outcome, at most `legs` times; returns the legs."""
    run = []
    while len(run) < legs and (leg := search.ask()) is not None:
        run.append(leg)
        search.tell(leg, outcome(leg))
    return run


def keys(history):
    """The candidates' keys, in order."""
    return [state.candidate.key for state in history]


def optuna_states(search):
    """The states of the journal's Optuna trials, in order."""
    return [trial.state for trial in search._journal.trials()]
