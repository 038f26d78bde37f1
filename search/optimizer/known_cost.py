"""known_cost, the default sampler and scheduler: costs are known beforehand, so only CIDEr has to be predicted.

The next free worker goes where the expected gain of hypervolume (`optimizer.acquisition`) per remaining training is largest: a
new candidate, or one that rests at a rung. Everything is a function of (history, seed); caches only save time, so a
resumed search decides as an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.optimizer.acquisition import AcquisitionModel
from search.optimizer.candidate_pool import CandidatePool, PoolBuilder, training_passes
from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.feasibility import LimitCheck
from search.optimizer.optuna_sampler import OptunaSampler
from search.optimizer.pareto import non_dominated
from search.optimizer.sampler import Suggestion
from search.optimizer.scheduler import Decision, Promote, StartCandidate, Wait
from search.optimizer.warm_start import PriorObservation
from search.space.bound_space import BoundSpace, Params
from search.study.history import History, final_values

INITIAL = 10  # candidates that are started before the model chooses
PARENTS = 8  # resting candidates whose neighbours are considered, besides the front's
# Share of the hypervolume that a resting candidate must be expected to add once no new one may be started.
LEAST_GAIN = 2e-3


class KnownCost:
    """Suggests new candidates and decides between them and resting ones, for one study. Needs CIDEr among the objectives."""

    def __init__(
        self,
        space: BoundSpace,
        seed: int,
        estimator: CostEstimator,
        limit: LimitCheck | None = None,
        prior: Sequence[PriorObservation] = (),
    ) -> None:
        """Creates the sampler of one study.

        Args:
            space: what is searched.
            seed: the study's seed.
            estimator: costs of candidates; its objectives are the study's.
            limit: gives the reason why a candidate breaks a limit; such candidates are not suggested.
            prior: candidates of another study, whose CIDEr the model learns from.
        """
        self._objectives, self._seed = estimator.objectives, seed
        self._acquisition_model = AcquisitionModel(space, estimator, prior)
        self._pool_builder = PoolBuilder(space, self._acquisition_model.encoder, seed, estimator, limit)
        self._random = OptunaSampler(space, estimator.objectives, "random", seed)
        self._initial = max(INITIAL, len(space.starts))
        self._best: tuple[History, Params | None, float] | None = None

    def decide(self, history: History, room: bool = True, seed: int = 0) -> Decision:
        """The scheduler: references to their end, then the initial candidates, then the largest expected gain per training."""
        resting = [c for c in history if c.state == "resting"]
        for c in resting:
            if c.reference:
                return Promote(c.number)
        if room and _started(history) < self._initial:
            return StartCandidate()
        if not resting:
            return StartCandidate() if room else Wait()
        acquisition = self._acquisition_model.fit(history)
        if acquisition is None:
            return Promote(resting[0].number)
        candidates = [c.candidate for c in resting]
        gains = acquisition.expected_improvement([self._acquisition_model.row(c) for c in resting], candidates)
        rates = gains / (training_passes(candidates) * (1 - np.array([c.reached for c in resting])))
        best = int(np.argmax(rates))
        if room:
            _, rate = self._choose(history)
            return Promote(resting[best].number) if rates[best] >= rate and rates[best] > 0 else StartCandidate()
        least = LEAST_GAIN * acquisition.volume
        largest = int(np.argmax(gains))
        if gains[largest] > least:
            return Promote(resting[best if gains[best] > least else largest].number)
        return Wait()

    def suggest(
        self, number: int, history: History, attempt: int = 0, given: Params | None = None, random: bool = False
    ) -> Suggestion:
        """See `Sampler.suggest`. Starting points are completed at random, and repeated candidates replaced by random ones."""
        params = None if given or random or attempt else self.propose(history)
        return Suggestion(params) if params is not None else self._random.suggest(number, history, attempt, given)

    def propose(self, history: History) -> Params | None:
        """Returns params of the new candidate with the largest expected gain per training; None to draw at random."""
        if _started(history) < self._initial:
            pool = self._pool(history)
            rng = np.random.default_rng([self._seed, len(history), 2])
            return pool.params[int(rng.integers(len(pool)))] if len(pool) else None
        return self._choose(history)[0]

    def _choose(self, history: History) -> tuple[Params | None, float]:
        """Returns the new candidate of the largest expected gain per training, and that rate."""
        if self._best is None or self._best[0] != history:
            acquisition, pool = self._acquisition_model.fit(history), self._pool(history)
            params, rate = (pool.params[0] if len(pool) else None), 0.0
            if acquisition is not None and len(pool):
                rates = acquisition.expected_improvement(pool.rows, pool.candidates) / training_passes(pool.candidates)
                best = int(np.argmax(rates))
                params, rate = pool.params[best], float(rates[best])
            self._best = (history, params, rate)
        return self._best[1:]

    def _pool(self, history: History) -> CandidatePool:
        return self._pool_builder.pool(history, self._parents(history))

    def _parents(self, history: History) -> list[Params]:
        """Returns params of the front's members and of the best candidates that rest."""
        done = [(c, v) for c in history if c.params and (v := final_values(c, self._objectives)) is not None]
        flags = non_dominated([v for _, v in done])
        parents = [c.params for (c, _), flag in zip(done, flags, strict=True) if flag]
        resting = [c for c in history if c.state == "resting" and c.params and MODELLED_OBJECTIVE in c.rungs[-1].metrics]
        resting.sort(key=lambda c: -c.rungs[-1].metrics[MODELLED_OBJECTIVE])
        return parents + [c.params for c in resting[:PARENTS]]


def _started(history: History) -> int:
    return sum(not c.reference and c.state != "infeasible" for c in history)
