"""Makes the optimizer of a study from the names of a sampler and a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsopt.errors import UserError
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.feasibility import LimitCheck, limit_check
from search.optimizer.known_cost import KnownCost
from search.optimizer.mo_asha import MoAsha
from search.optimizer.optuna_sampler import OptunaSampler
from search.optimizer.sampler import Sampler
from search.optimizer.scheduler import Scheduler, run_to_end
from search.optimizer.warm_start import PriorObservation, frozen_trials
from search.space.bound_space import BoundSpace
from search.study.limits import Limits
from search.study.settings import SAMPLERS, SCHEDULES


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What decides which candidates a study tries and how far they are trained.

    `limit` gives the reason why a candidate breaks a limit before it runs; `estimator` learns what the study measures.
    """

    sampler: Sampler
    scheduler: Scheduler
    estimator: CostEstimator
    limit: LimitCheck | None = None


def default_schedule(sampler: str) -> str:
    """Returns the schedule that a sampler is run with by default."""
    return "promote" if sampler == "known_cost" else "halving"


def make_optimizer(
    sampler: str,
    schedule: str | None,
    space: BoundSpace,
    seed: int,
    estimator: CostEstimator,
    limits: Limits | None = None,
    prior: Sequence[PriorObservation] = (),
) -> Optimizer:
    """Returns the optimizer of a study.

    Args:
        sampler: one of `SAMPLERS`.
        schedule: one of `SCHEDULES`; None is the sampler's default.
        space: what is searched.
        seed: the study's seed.
        estimator: costs of candidates before they run; its objectives are the study's.
        limits: upper bounds of costs; candidates that are predicted to exceed them are not run.
        prior: candidates of another study.

    Raises:
        UserError: a name is unknown, or the two do not go together.
    """
    schedule = schedule or default_schedule(sampler)
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler '{sampler}'; known: {', '.join(SAMPLERS)}")
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule '{schedule}'; known: {', '.join(SCHEDULES)}")
    if schedule == "promote" and sampler != "known_cost":
        raise UserError(f"schedule promote is known_cost's own; {sampler} goes with halving or end")
    limit = limit_check(limits, estimator) if limits else None
    scheduler: Scheduler = MoAsha(estimator) if schedule == "halving" else run_to_end
    if sampler != "known_cost":
        trials = frozen_trials(space, prior, [o.name for o in estimator.objectives])
        return Optimizer(OptunaSampler(space, estimator.objectives, sampler, seed, trials), scheduler, estimator, limit)
    known_cost = KnownCost(space, seed, estimator, limit, prior)
    return Optimizer(known_cost, known_cost.decide if schedule == "promote" else scheduler, estimator, limit)
