"""Asynchronous multi-objective successive halving: which resting candidates are promoted, with any sampler. Pure.

A candidate is promoted from a rung when it is among the best 1/ETA of all that have reached that rung (ASHA, Li 2018),
ordered by non-dominated rank and, within a rank, by the hypervolume that it alone contributes. Equal candidates share a
place. A candidate that dominates any promoted one is promoted too, whatever its place, so a strict dominator is never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.scheduler import Decision, Promote, StartCandidate, Wait
from search.study.history import CandidateState, History

ETA = 3.0


class MoAsha:
    """The scheduler. Costs that a rung does not measure are estimated."""

    def __init__(self, estimator: CostEstimator, eta: float = ETA) -> None:
        self._estimator, self._eta = estimator, eta

    def __call__(self, history: History, room: bool = True, seed: int = 0) -> Decision:
        """Promotes references first, then from the highest rung that allows it; else starts a new candidate."""
        resting = [c for c in history if c.state == "resting"]
        for c in resting:
            if c.reference:
                return Promote(c.number)
        if resting:
            self._estimator.learn(history)
        for rung in sorted({c.reached for c in resting}, reverse=True):
            at_rung = [c for c in history if any(m.rung == rung for m in c.rungs) and c.role != "zero_shot"]
            values = np.array([self._values(c, rung) for c in at_rung])
            # Candidates that failed at a higher rung were promoted too, but give no claim to those that dominate them.
            went_on = [c.reached > rung or (c.reached == rung and c.state == "running") for c in at_rung]
            flags = promoted(values, self._eta, went_on)
            for c, flag in zip(at_rung, flags, strict=True):
                if flag and c.state == "resting" and c.reached == rung:
                    return Promote(c.number)
        return StartCandidate() if room else Wait()

    def _values(self, c: CandidateState, rung: float) -> list[float]:
        metrics = next(m.metrics for m in c.rungs if m.rung == rung)
        costs = iter(self._estimator.minimised_costs(c.candidate))
        return [
            o.minimised(metrics.get(MODELLED_OBJECTIVE, -math.inf)) if o.name == MODELLED_OBJECTIVE else next(costs)
            for o in self._estimator.objectives
        ]


def promoted(values: ArrayLike, eta: float, went_on: Sequence[bool] = ()) -> NDArray[np.bool_]:
    """Returns flags (n,): which of values (n, m), minimised, may go on. `went_on` (n,) flags those that already have.

    At least one may, and at most a share 1/eta rounded up (more only for equals and for dominators of those that went on).
    """
    points = np.asarray(values, dtype=np.float64)
    n = len(points)
    if n == 0:
        return np.zeros(0, dtype=bool)
    places = max(1, math.ceil(n / eta))
    rank = ranks(points)
    # How many are strictly better; equals share a place. Contributions decide only within the rank that does not fit whole.
    better = np.searchsorted(np.sort(rank), rank, side="left")
    for level in np.unique(rank[(better < places)]):
        members = np.flatnonzero(rank == level)
        if better[members[0]] + len(members) > places:
            share = contributions(points[members])
            better[members] += (share[None] > share[:, None]).sum(axis=1)
    flags: NDArray[np.bool_] = better < places
    ahead = np.flatnonzero(flags | (np.asarray(went_on, dtype=np.bool_) if len(went_on) else False))
    no_worse = np.all(points[:, None] <= points[None, ahead], axis=2)
    less = np.any(points[:, None] < points[None, ahead], axis=2)
    dominates: NDArray[np.bool_] = np.any(no_worse & less, axis=1)
    return flags | dominates


def ranks(values: ArrayLike) -> NDArray[np.int_]:
    """Returns the non-dominated rank (n,) of values (n, m): 0 for the front, 1 for the front of the rest, and so on."""
    points = _finite(np.asarray(values, dtype=np.float64))
    return np.asarray(moocore.pareto_rank(points), dtype=np.int_) if len(points) else np.zeros(0, dtype=np.int_)


def contributions(values: ArrayLike) -> NDArray[np.float64]:
    """Returns the hypervolume (n,) that each of values (n, m), none dominating another, adds alone; equal values tie at 0.

    Ranges are scaled to 1. The reference point lies beyond the worst values, so that the ends of a front contribute too.
    Rounded, so that no tie depends on the last bit.
    """
    points = _finite(np.asarray(values, dtype=np.float64))
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = np.divide(points - low, span, out=np.zeros_like(points), where=span > 0)
    return np.asarray(moocore.hv_contributions(scaled, ref=np.full(points.shape[1], 1.1)), dtype=np.float64).round(12)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replaces infinities (nothing measured) by values worse than all others."""
    return np.nan_to_num(points, posinf=1e30, neginf=-1e30)
