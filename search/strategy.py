"""Strategies: a sampler and a schedule by name, made for one study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from rsopt.errors import UserError
from search.bound import BoundSpace
from search.estimates import Estimates
from search.halving import Halving
from search.history import History
from search.known_cost import KnownCost
from search.policy import Policy, run_to_end
from search.prospects import Limit
from search.sampler import OPTUNA_SAMPLERS, Draw, OptunaSampler, Sampler
from search.warm import Told, frozen_trials

SAMPLERS = ("known_cost", *OPTUNA_SAMPLERS)
# promote: rest and promote by expected gain, known_cost's own; halving: for any sampler; end: every candidate runs to the end
SCHEDULES = ("promote", "halving", "end")


def default_schedule(sampler: str) -> str:
    """What a sampler is run with unless told otherwise."""
    return "promote" if sampler == "known_cost" else "halving"


def make_strategy(
    sampler: str,
    schedule: str | None,
    space: BoundSpace,
    objectives: Sequence[Objective],
    seed: int,
    estimates: Estimates,
    limit: Limit | None = None,
    told: Sequence[Told] = (),
) -> tuple[Sampler, Policy]:
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
    policy: Policy = Halving(objectives, estimates) if schedule == "halving" else run_to_end
    if sampler != "known_cost":
        drawn = OptunaSampler(space, objectives, sampler, seed)
        for trial in frozen_trials(space, told, [o.name for o in objectives]):
            drawn.learn(trial)
        return drawn, policy
    rows = [(t.params, rung, value) for t in told for rung, value in t.rungs]
    mind = KnownCost(space, objectives, seed, estimates, limit, rows)
    return KnownCostSampler(mind, space, objectives, seed), mind.decide if schedule == "promote" else policy


class KnownCostSampler:
    """KnownCost as a sampler: whole candidates from the history alone. Starting points and repeats are drawn at random."""

    def __init__(self, mind: KnownCost, space: BoundSpace, objectives: Sequence[Objective], seed: int) -> None:
        self._mind, self._space = mind, space
        self._random = OptunaSampler(space, objectives, "random", seed)

    def draw(
        self,
        number: int,
        history: History,
        attempt: int = 0,
        given: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Draw:
        """Params for trial `number`: see `OptunaSampler.draw`."""
        params = None if given or name or attempt else self._mind.propose(history)
        if params is None:
            return self._random.draw(number, history, attempt, given, "random")
        return Draw(params, {key: self._space.distributions[key] for key in params}, {}, -1)

    def keep(self, draw: Draw, number: int) -> None:
        """Nothing: the history tells all."""

    def drop(self, draw: Draw) -> None:
        """Nothing."""

    def add(self, trial: FrozenTrial) -> None:
        """Nothing."""

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing."""
