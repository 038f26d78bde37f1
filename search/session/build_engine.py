"""assemble: settings become the search of a study: costs, limits, sampler, policy, budget, warm start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from rsopt.core.ranking import MeasuredRankings
from rsopt.core.variant import BaseShape, Dtype
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.exact_costs import exact_costs, recorded_latencies
from search.optimizer.factory import make_optimizer
from search.optimizer.warm_start import WarmStart
from search.space.load import Space
from search.storage.layout import WARM_START_FILE
from search.study.budget import Budget
from search.study.settings import Settings, StudyMetadata


def assemble(
    settings: Settings,
    metadata: StudyMetadata,
    space: Space,
    shape: BaseShape,
    rankings: MeasuredRankings | None,
    slots: int,
    dtype: Dtype,
    keep: Callable[[], None] = lambda: None,
) -> Search:
    """The search of a study in its folder, new or taken up again. What it decides depends on that folder alone (and time)."""
    bound = space.bind(shape, rankings)
    warm = read_warm_start(settings)
    bound = replace(bound, starts=(*bound.starts, *warm.starts))
    schedule = None if settings.halving else "end"
    # A list is run to the end of every row; nothing is drawn.
    sampler, schedule = ("random", "end") if bound.names else (settings.sampler, schedule)
    estimator = estimator_of(settings, space, dtype)
    optimizer = make_optimizer(sampler, schedule, bound, settings.seed, estimator, settings.limits, warm.observations)
    worker_hours = None if settings.gpu_hours is None else settings.gpu_hours / settings.gpus_per_trial
    rules = SearchSettings(space.objectives, space.rungs, settings.seed, settings.trials, slots, settings.limits)
    return Search(settings.folder, bound, rules, optimizer, Budget(settings.hours, worker_hours), keep)


def estimator_of(settings: Settings, space: Space, dtype: Dtype) -> CostEstimator:
    """What is known of candidates before they run: exact figures of the base, latencies of a ledger that was given.

    Memory as predicted, times what running out of it taught this study's sessions before.
    """
    from rsopt.common.out_of_memory import exceeded  # brings torch

    limited = settings.max_memory_gb is not None
    costs = exact_costs(settings.base, dtype, limited, exceeded(settings.folder) if limited else 1.0)
    return CostEstimator(space.objectives, costs, recorded=recorded_latencies(settings.given_ledger, settings.base))


def read_warm_start(settings: Settings) -> WarmStart:
    """What the study was given to start from."""
    path = settings.folder / WARM_START_FILE
    return WarmStart.from_json(json.loads(path.read_text())) if path.exists() else WarmStart()
