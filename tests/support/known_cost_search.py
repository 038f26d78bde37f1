"""Searches with the default sampler over the shipped spaces; measurements come from formulas."""

import math
from functools import partial

import numpy as np

from rsopt.core.objectives import Measurement
from rsopt.core.ranking import MeasuredRankings
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.space.load import load_space
from tests.support import simulated_search
from tests.support.simulated_search import SHAPE

RANKINGS = MeasuredRankings.placeholder(8)


def costs(candidate):
    """Parameters and GMACs by depth."""
    depth = candidate.variant.architecture()
    return {"params": 1e6 + 2e5 * depth.llm_layers + 1e5 * depth.qformer_layers, "gmacs": 0.1 * depth.llm_layers}


def measure(leg):
    """CIDEr by depth and learning rate, latency by depth; equal legs measure equal."""
    depth, rate = leg.candidate.variant.architecture(), math.log10(leg.candidate.recipe.lr / 3.1e-4)
    cider = 100 * (1 - 0.6 * (1 - depth.llm_layers / 8) ** 1.5) * math.exp(-(rate**2)) * (0.5 + 0.5 * leg.stop)
    metrics = {"cider": cider + np.random.default_rng(leg.seed).normal()}
    parts = {"vision": 1, "qformer": depth.qformer_layers, "prefill": 1 + depth.llm_layers}
    per_token = 0.1 * (1 + depth.llm_layers)  # eleven new tokens, the first of them with the prefix
    metrics |= {"latency_ms": sum(parts.values()) + 10 * per_token, **costs(leg.candidate)}
    metrics |= {f"latency_{name}_ms": float(value) for name, value in (parts | {"per_token": per_token}).items()}
    return Measurement(leg.stop, metrics, {"train": 1.0})


run_legs = partial(simulated_search.run_legs, outcome=measure)


def open_search(folder, schedule="promote", name="pruning", limits=None, trials=40, slots=1, sampler="known_cost"):
    """Create or reopen the search in `folder`.

    Args:
        folder: of the study.
        schedule: of the scheduler, such as promote, halving or end.
        name: of a shipped space.
        limits: of predicted costs.
        trials: candidates beside the references.
        slots: legs in flight at most.
        sampler: its name.
    """
    space = load_space(name)
    bound = space.bind(SHAPE, RANKINGS)
    optimizer = make_optimizer(sampler, schedule, bound, 3, CostEstimator(space.objectives, costs), limits)
    return Search(folder, bound, SearchSettings(space.objectives, space.rungs, 3, trials, slots), optimizer)
