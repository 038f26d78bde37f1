"""Outlook: what a study's measurements promise of candidates that are not trained to the end. No decisions here.

CIDEr at the end is guessed by a Gaussian process, costs are known; together they give an expected gain of hypervolume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import OBJECTIVES, Objective
from rsopt.errors import UserError
from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.ehvi import expected_improvement
from search.optimizer.pareto import hypervolume, non_dominated
from search.optimizer.surrogate import Posterior, Surrogate
from search.space.bound_space import BoundSpace, Params
from search.space.encoding import Encoder
from search.study.history import CandidateState, History, final_values, reference_point

Array = NDArray[np.float64]
ROWS = 300  # measurements that a prediction is made from, at most
# Measurements at which the model is tuned, on those up to there: so a resumed search tunes the same.
MILESTONES = (6, 9, 13, 18, 25, 35, 50, 70, 100, 140, 200, 300, 500, 1000, 2000, 4000)
SIGN = OBJECTIVES[MODELLED_OBJECTIVE].minimised(1.0)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What the model says at one moment. Points are minimised; those in flight count as they are expected to come out."""

    posterior: Posterior
    front: Array  # (n, m) measured and expected points
    corner: Array  # (m,) the hypervolume's reference point
    volume: float  # hypervolume of what was measured
    column: int  # of the uncertain objective
    estimates: CostEstimator

    def expected_improvement(self, rows: Sequence[Sequence[float]] | Array, candidates: Sequence[Candidate]) -> Array:
        """Expected gain of hypervolume (n,) if each of n candidates, with its row for the model, were trained to its end."""
        mean, sd = self.posterior.predict(np.asarray(rows))
        known = np.array([self.estimates.known(c) for c in candidates])
        return expected_improvement(self.front, self.corner, self.column, known, SIGN * mean, sd)


class AcquisitionModel:
    """Makes outlooks of one study. `told`: what another study measured, as (params, rung, CIDEr)."""

    def __init__(
        self,
        space: BoundSpace,
        objectives: Sequence[Objective],
        estimates: CostEstimator,
        told: Sequence[tuple[Params, float, float]] = (),
    ) -> None:
        names = [o.name for o in objectives]
        if MODELLED_OBJECTIVE not in names:
            raise UserError(
                f"sampler known_cost needs {MODELLED_OBJECTIVE} among the objectives; choose another --sampler"
            )
        self._space, self._objectives, self._estimates = space, tuple(objectives), estimates
        self._column = names.index(MODELLED_OBJECTIVE)
        self.encoder = Encoder(space)
        self._surrogate = Surrogate(self.encoder.groups)
        self._before_rows = np.array([[*self.encoder.encode(params), rung] for params, rung, _ in told])
        self._before_rows = self._before_rows.reshape(-1, len(self.encoder.groups) + 1)
        self._before_values = np.array([value for *_, value in told])
        self._tuned: tuple[int, int] | None = None
        self._encoded: dict[int, list[float]] = {}
        self._last: tuple[History, Acquisition | None] | None = None

    def row(self, c: CandidateState) -> list[float]:
        """A candidate's row for the model, without the rung."""
        if c.number not in self._encoded:
            self._encoded[c.number] = self.encoder.encode(c.params)
        return self._encoded[c.number]

    def fit(self, history: History) -> Acquisition | None:
        """Model and front as of this history; None before two measurements."""
        if self._last is None or self._last[0] != history:
            self._last = (history, self._fit(history))
        return self._last[1]

    def _fit(self, history: History) -> Acquisition | None:
        self._estimates.learn(history)
        told = sorted(
            (order, c.number, m.rung, m.metrics[MODELLED_OBJECTIVE])
            for c in history
            if c.role != "zero_shot" and c.params
            for order, m in zip(c.order, c.rungs, strict=True)
            if MODELLED_OBJECTIVE in m.metrics
        )
        if len(told) < 2:
            return None
        rows = np.array([[*self.row(history[number]), rung] for _, number, rung, _ in told])
        values = np.array([value for *_, value in told])
        milestone = max((m for m in MILESTONES if m <= len(told)), default=2)
        if self._tuned != (milestone, told[milestone - 1][1]):
            before, earlier = self._before_rows, self._before_values
            self._surrogate.tune(np.vstack([before, rows[:milestone]]), np.append(earlier, values[:milestone]))
            self._tuned = (milestone, told[milestone - 1][1])
        if len(told) > ROWS:
            last = {number: i for i, (_, number, _, _) in enumerate(told)}  # a candidate's last rung tells the most
            kept = sorted(sorted(last.values(), key=lambda i: (told[i][2], i))[-ROWS:])
            rows, values = rows[kept], values[kept]
        rows, values = np.vstack([self._before_rows[-ROWS:], rows]), np.append(self._before_values[-ROWS:], values)
        posterior = self._surrogate.fit(rows, values)
        corner = self._corner(history)
        points = [v for c in history if (v := final_values(c, self._objectives)) is not None]
        measured = np.array(points).reshape(-1, len(corner))
        front = measured[non_dominated(measured)]
        volume = hypervolume(measured, corner)
        pending = [c for c in history if c.in_flight and c.params]
        if pending:  # believed to come out as expected: nobody else is sent where they are going
            found = np.array([self.row(c) for c in pending])
            mean, _ = posterior.predict(found)
            ends = np.c_[found, np.ones(len(found))]
            posterior = self._surrogate.fit(np.vstack([rows, ends]), np.append(values, mean), posterior.scale)
            known = [self._estimates.known(c.candidate) for c in pending]
            expected = [np.insert(k, self._column, SIGN * value) for k, value in zip(known, mean, strict=True)]
            front = np.vstack([front, *expected])
            front = front[non_dominated(front)]
        return Acquisition(posterior, front, corner, volume, self._column, self._estimates)

    def _corner(self, history: History) -> Array:
        """The hypervolume's reference point; as estimated until the full depth is measured."""
        found = reference_point(history, self._objectives)
        if found is None:
            known = iter(self._estimates.known(self._space.full_depth()[1]))
            found = tuple(
                0.0 if o.name == MODELLED_OBJECTIVE else next(known) * o.reference_factor for o in self._objectives
            )
        return np.array(found)
