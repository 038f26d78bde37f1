"""known_cost: the default sampler and its policy. Costs are known beforehand, so only CIDEr has to be guessed.

The next free worker goes where the expected gain of hypervolume (`acquisition`) per remaining training is largest: a
new candidate, or one that rests at a rung. Everything is a function of (history, seed); caches only save time, so a
resumed search decides as the undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from search.optimizer.acquisition import AcquisitionModel
from search.optimizer.candidate_pool import CandidatePool, Limit, PoolBuilder, effort_of
from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.optuna_sampler import OptunaSampler
from search.optimizer.pareto import non_dominated
from search.optimizer.sampler import Draw
from search.optimizer.scheduler import Decision, Promote, StartCandidate, Wait
from search.space.bound_space import BoundSpace, Params
from search.study.history import History, final_values

INITIAL = 10  # candidates that are begun before the model chooses
PARENTS = 8  # resting candidates whose neighbours are looked at, beside the front's
WORTH = 2e-3  # of the hypervolume: what a resting candidate must promise once no new one may be begun


class KnownCost:
    """Proposes new candidates and decides between them and resting ones, for one study. Needs CIDEr among the objectives."""

    def __init__(
        self,
        space: BoundSpace,
        objectives: Sequence[Objective],
        seed: int,
        estimates: CostEstimator,
        limit: Limit | None = None,
        told: Sequence[tuple[Params, float, float]] = (),
    ) -> None:
        self._objectives, self._seed = tuple(objectives), seed
        self._acquisition_model = AcquisitionModel(space, objectives, estimates, told)
        self._pool_builder = PoolBuilder(space, self._acquisition_model.encoder, seed, estimates, limit)
        self._initial = max(INITIAL, len(space.starts))
        self._best: tuple[History, Params | None, float] | None = None

    def decide(self, history: History, room: bool = True, seed: int = 0) -> Decision:
        """The policy: reference points to their end, then the first candidates, then whatever promises most per training."""
        resting = [c for c in history if c.state == "resting"]
        for c in resting:
            if c.reference:
                return Promote(c.number)
        if room and _begun(history) < self._initial:
            return StartCandidate()
        if not resting:
            return StartCandidate() if room else Wait()
        acquisition = self._acquisition_model.fit(history)
        if acquisition is None:
            return Promote(resting[0].number)
        candidates = [c.candidate for c in resting]
        gains = acquisition.expected_improvement([self._acquisition_model.row(c) for c in resting], candidates)
        rates = gains / (effort_of(candidates) * (1 - np.array([c.reached for c in resting])))
        best = int(np.argmax(rates))
        if room:
            _, rate = self._choose(history)
            return Promote(resting[best].number) if rates[best] >= rate and rates[best] > 0 else StartCandidate()
        enough = WORTH * acquisition.volume
        most = int(np.argmax(gains))
        if gains[most] > enough:
            return Promote(resting[best if gains[best] > enough else most].number)
        return Wait()

    def propose(self, history: History) -> Params | None:
        """Params of the new candidate that promises most per training; None to draw at random."""
        if _begun(history) < self._initial:
            pool = self._pool(history)
            rng = np.random.default_rng([self._seed, len(history), 2])
            return pool.params[int(rng.integers(len(pool)))] if len(pool) else None
        return self._choose(history)[0]

    def _choose(self, history: History) -> tuple[Params | None, float]:
        """The new candidate of the largest expected gain per training, and that rate."""
        if self._best is None or self._best[0] != history:
            acquisition, pool = self._acquisition_model.fit(history), self._pool(history)
            best, rate = (pool.params[0] if len(pool) else None), 0.0
            if acquisition is not None and len(pool):
                rates = acquisition.expected_improvement(pool.rows, pool.candidates) / pool.effort
                most = int(np.argmax(rates))
                best, rate = pool.params[most], float(rates[most])
            self._best = (history, best, rate)
        return self._best[1:]

    def _pool(self, history: History) -> CandidatePool:
        return self._pool_builder.pool(history, self._parents(history))

    def _parents(self, history: History) -> list[Params]:
        """Params of the front's members and of the best of those that rest."""
        done = [(c, v) for c in history if c.params and (v := final_values(c, self._objectives)) is not None]
        flags = non_dominated([v for _, v in done])
        parents = [c.params for (c, _), flag in zip(done, flags, strict=True) if flag]
        resting = [
            c for c in history if c.state == "resting" and c.params and MODELLED_OBJECTIVE in c.rungs[-1].metrics
        ]
        resting.sort(key=lambda c: -c.rungs[-1].metrics[MODELLED_OBJECTIVE])
        return parents + [c.params for c in resting[:PARENTS]]


def _begun(history: History) -> int:
    return sum(not c.reference and c.state != "infeasible" for c in history)


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
