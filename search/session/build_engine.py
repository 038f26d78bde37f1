"""Builds the search of a study from its settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from rsopt.core.packed_lengths import PackedLengths
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


def build_search(
    settings: Settings,
    metadata: StudyMetadata,
    space: Space,
    shape: BaseShape,
    rankings: MeasuredRankings | None,
    slots: int,
    dtype: Dtype,
    push_journal: Callable[[], None] = lambda: None,
) -> Search:
    """Build the search of a new or a resumed study. Its decisions depend on the study's folder and on time only.

    Args:
        settings: Settings of the study.
        metadata: Metadata of the study.
        space: Its space.
        shape: Shape of its base.
        rankings: Its measured rankings; None where its space uses none.
        slots: Number of legs that run at once.
        dtype: Precision of the weights, for costs.
        push_journal: Called after every write of the journal.
    """
    bound = space.bind(shape, rankings)
    warm = read_warm_start(settings)
    bound = replace(bound, starts=(*bound.starts, *warm.starts))
    schedule = None if settings.halving else "end"
    # Every row of a fixed list is trained to the end.
    sampler, schedule = ("random", "end") if bound.names else (settings.sampler, schedule)
    estimator = estimator_of(settings, space, dtype, metadata.packed_lengths)
    optimizer = make_optimizer(sampler, schedule, bound, settings.seed, estimator, settings.limits, warm.observations)
    worker_hours = None if settings.gpu_hours is None else settings.gpu_hours / settings.gpus_per_trial
    rules = SearchSettings(space.objectives, space.rungs, settings.seed, settings.trials, slots, settings.limits)
    return Search(settings.folder, bound, rules, optimizer, Budget(settings.hours, worker_hours), push_journal)


def estimator_of(settings: Settings, space: Space, dtype: Dtype, packed: PackedLengths | None = None) -> CostEstimator:
    """The estimator of costs before a candidate runs: exact counts, and the recorded latencies the study began with.

    Memory is predicted for `packed` caption tokens an image and multiplied by the factor that earlier sessions of this study
    exceeded it by.
    """
    from rsopt.common.out_of_memory import exceeded  # imports torch

    limited = settings.max_memory_gb is not None
    costs = exact_costs(settings.base, dtype, limited, exceeded(settings.folder) if limited else 1.0, packed)
    return CostEstimator(space.objectives, costs, recorded=recorded_latencies(settings.given_ledger, settings.base))


def read_warm_start(settings: Settings) -> WarmStart:
    """The warm start that the study began with; an empty one without."""
    path = settings.folder / WARM_START_FILE
    return WarmStart.from_json(json.loads(path.read_text())) if path.exists() else WarmStart()
