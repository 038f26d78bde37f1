"""Acquisition function: expected hypervolume improvement of new and of partially trained candidates.

CIDEr at the end of training is predicted by a Gaussian process; costs are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import OBJECTIVES
from rsopt.errors import UserError
from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.ehvi import expected_improvement
from search.optimizer.pareto import hypervolume, non_dominated
from search.optimizer.surrogate import Posterior, Surrogate
from search.optimizer.warm_start import PriorObservation
from search.space.bound_space import BoundSpace
from search.space.encoding import Encoder
from search.study.history import CandidateState, History, final_values, reference_point

Array = NDArray[np.float64]
ROWS = 300  # most measurements that a prediction is made from
# Numbers of measurements at which the model is tuned, on the measurements up to there: so a resumed search tunes the same.
MILESTONES = (6, 9, 13, 18, 25, 35, 50, 70, 100, 140, 200, 300, 500, 1000, 2000, 4000)
SIGN = OBJECTIVES[MODELLED_OBJECTIVE].minimised(1.0)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The model and the front at one moment. Points are minimised; candidates in flight count with their expected outcome."""

    posterior: Posterior
    front: Array  # (n, m) measured and expected points
    reference: Array  # (m,) the hypervolume's reference point
    volume: float  # hypervolume of what was measured
    column: int  # of the modelled objective
    estimator: CostEstimator

    def expected_improvement(self, rows: Sequence[Sequence[float]] | Array, candidates: Sequence[Candidate]) -> Array:
        """Returns the expected gain of hypervolume (n,) if each of n candidates, with its row, were trained to its end."""
        mean, sd = self.posterior.predict(np.asarray(rows))
        costs = np.array([self.estimator.minimised_costs(c) for c in candidates])
        return expected_improvement(self.front, self.reference, self.column, costs, SIGN * mean, sd)


class AcquisitionModel:
    """Makes the acquisition function of one study; `prior` candidates of another study are measurements too."""

    def __init__(self, space: BoundSpace, estimator: CostEstimator, prior: Sequence[PriorObservation] = ()) -> None:
        names = [o.name for o in estimator.objectives]
        if MODELLED_OBJECTIVE not in names:
            raise UserError(f"sampler known_cost needs {MODELLED_OBJECTIVE} among the objectives; choose another --sampler")
        self._space, self._objectives, self._estimator = space, estimator.objectives, estimator
        self._column = names.index(MODELLED_OBJECTIVE)
        self.encoder = Encoder(space)
        self._surrogate = Surrogate(self.encoder.groups)
        observations = [(o.params, rung, value) for o in prior for rung, value in o.rungs]
        rows = np.array([[*self.encoder.encode(params), rung] for params, rung, _ in observations])
        self._prior_rows = rows.reshape(-1, len(self.encoder.groups) + 1)
        self._prior_values = np.array([value for *_, value in observations])
        self._tuned: tuple[int, int] | None = None  # (milestone, trial of its measurement) of the last tuning
        self._encoded: dict[int, list[float]] = {}
        self._last: tuple[History, Acquisition | None] | None = None

    def row(self, c: CandidateState) -> list[float]:
        """Returns a candidate's row for the model, without the rung."""
        if c.number not in self._encoded:
            self._encoded[c.number] = self.encoder.encode(c.params)
        return self._encoded[c.number]

    def fit(self, history: History) -> Acquisition | None:
        """Returns the acquisition function of this history; None before two measurements."""
        if self._last is None or self._last[0] != history:
            self._last = (history, self._fit(history))
        return self._last[1]

    def _fit(self, history: History) -> Acquisition | None:
        self._estimator.learn(history)
        measured = sorted(
            (order, c.number, m.rung, m.metrics[MODELLED_OBJECTIVE])
            for c in history
            if c.role != "zero_shot" and c.params
            for order, m in zip(c.order, c.rungs, strict=True)
            if MODELLED_OBJECTIVE in m.metrics
        )
        if len(measured) < 2:
            return None
        rows = np.array([[*self.row(history[number]), rung] for _, number, rung, _ in measured])
        values = np.array([value for *_, value in measured])
        milestone = max((m for m in MILESTONES if m <= len(measured)), default=2)
        if self._tuned != (milestone, measured[milestone - 1][1]):
            self._surrogate.tune(
                np.vstack([self._prior_rows, rows[:milestone]]), np.append(self._prior_values, values[:milestone])
            )
            self._tuned = (milestone, measured[milestone - 1][1])
        if len(measured) > ROWS:
            last = {number: i for i, (_, number, _, _) in enumerate(measured)}  # a candidate's last rung says most
            chosen = sorted(sorted(last.values(), key=lambda i: (measured[i][2], i))[-ROWS:])
            rows, values = rows[chosen], values[chosen]
        rows, values = np.vstack([self._prior_rows[-ROWS:], rows]), np.append(self._prior_values[-ROWS:], values)
        return self._acquisition(history, rows, values)

    def _acquisition(self, history: History, rows: Array, values: Array) -> Acquisition:
        """Fits the tuned model to rows (n, columns + 1) and values (n,); candidates in flight are added as expected."""
        posterior = self._surrogate.fit(rows, values)
        reference = self._reference(history)
        finals = [v for c in history if (v := final_values(c, self._objectives)) is not None]
        points = np.array(finals).reshape(-1, len(reference))
        front = points[non_dominated(points)]
        volume = hypervolume(points, reference)
        pending = [c for c in history if c.in_flight and c.params]
        if pending:  # so that several workers do not choose alike
            pending_rows = np.array([self.row(c) for c in pending])
            mean, _ = posterior.predict(pending_rows)
            ends = np.c_[pending_rows, np.ones(len(pending))]
            posterior = self._surrogate.fit(np.vstack([rows, ends]), np.append(values, mean), posterior.scale)
            costs = [self._estimator.minimised_costs(c.candidate) for c in pending]
            expected = [np.insert(c, self._column, SIGN * value) for c, value in zip(costs, mean, strict=True)]
            front = np.vstack([front, *expected])
            front = front[non_dominated(front)]
        return Acquisition(posterior, front, reference, volume, self._column, self._estimator)

    def _reference(self, history: History) -> Array:
        """Returns the hypervolume's reference point (m,); an estimate until the full depth is measured."""
        point = reference_point(history, self._objectives)
        if point is None:
            costs = iter(self._estimator.minimised_costs(self._space.full_depth()[1]))
            point = tuple(0.0 if o.name == MODELLED_OBJECTIVE else next(costs) * o.reference_factor for o in self._objectives)
        return np.array(point)
