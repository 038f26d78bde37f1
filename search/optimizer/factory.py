"""Strategies: a sampler and a schedule by name, made for one study."""

from __future__ import annotations

from collections.abc import Sequence

from rsopt.core.objectives import Objective
from rsopt.errors import UserError
from search.optimizer.candidate_pool import Limit
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.known_cost import KnownCost, KnownCostSampler
from search.optimizer.mo_asha import Halving
from search.optimizer.optuna_sampler import OptunaSampler
from search.optimizer.sampler import Sampler
from search.optimizer.scheduler import Scheduler, run_to_end
from search.optimizer.warm_start import PriorObservation, frozen_trials
from search.space.bound_space import BoundSpace
from search.study.settings import SAMPLERS, SCHEDULES


def default_schedule(sampler: str) -> str:
    """What a sampler is run with unless told otherwise."""
    return "promote" if sampler == "known_cost" else "halving"


def make_optimizer(
    sampler: str,
    schedule: str | None,
    space: BoundSpace,
    objectives: Sequence[Objective],
    seed: int,
    estimates: CostEstimator,
    limit: Limit | None = None,
    told: Sequence[PriorObservation] = (),
) -> tuple[Sampler, Scheduler]:
    """Sampler and policy of these names; `told` is what another study found.

    Raises UserError for names that there are not or that do not go together.
    """
    schedule = schedule or default_schedule(sampler)
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler '{sampler}'; known: {', '.join(SAMPLERS)}")
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule '{schedule}'; known: {', '.join(SCHEDULES)}")
    if schedule == "promote" and sampler != "known_cost":
        raise UserError(f"schedule promote is known_cost's own; {sampler} goes with halving or end")
    policy: Scheduler = Halving(objectives, estimates) if schedule == "halving" else run_to_end
    if sampler != "known_cost":
        drawn = OptunaSampler(space, objectives, sampler, seed)
        for trial in frozen_trials(space, told, [o.name for o in objectives]):
            drawn.learn(trial)
        return drawn, policy
    rows = [(t.params, rung, value) for t in told for rung, value in t.rungs]
    mind = KnownCost(space, objectives, seed, estimates, limit, rows)
    return KnownCostSampler(mind, space, objectives, seed), mind.decide if schedule == "promote" else policy
