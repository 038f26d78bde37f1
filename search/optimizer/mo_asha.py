"""Asynchronous multi-objective halving: which resting candidates go on, for any sampler. Pure.

A candidate goes on from a rung when it is among the best 1/ETA of all that reached that rung so far (ASHA, Li 2018),
ordered by non-dominated rank and, within a rank, by how much hypervolume it alone contributes there. Ranks, not a sort
order: equals are equal. One that dominates any candidate that went on goes on too, whatever its place: a strict dominator
is never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsopt.core.objectives import Objective
from search.optimizer.cost_estimator import MODELLED_OBJECTIVE, CostEstimator
from search.optimizer.scheduler import Decision, Promote, StartCandidate, Wait
from search.study.history import CandidateState, History

ETA = 3.0


class Halving:
    """The policy. Costs that a rung does not measure are taken from the estimates."""

    def __init__(self, objectives: Sequence[Objective], estimates: CostEstimator, eta: float = ETA) -> None:
        self._objectives, self._estimates, self._eta = tuple(objectives), estimates, eta

    def __call__(self, history: History, room: bool = True, seed: int = 0) -> Decision:
        """Reference points first, then the highest rung from which one may go on, then a new candidate."""
        resting = [c for c in history if c.state == "resting"]
        for c in resting:
            if c.reference:
                return Promote(c.number)
        if resting:
            self._estimates.learn(history)
        for rung in sorted({c.reached for c in resting}, reverse=True):
            there = [c for c in history if any(m.rung == rung for m in c.rungs) and c.role != "zero_shot"]
            values = np.array([self._values(c, rung) for c in there])
            # A candidate that failed further on was let on too, but nobody is owed anything for it.
            went_on = [c.reached > rung or (c.reached == rung and c.state == "running") for c in there]
            goes = promoted(values, self._eta, went_on)
            for c, go in zip(there, goes, strict=True):
                if go and c.state == "resting" and c.reached == rung:
                    return Promote(c.number)
        return StartCandidate() if room else Wait()

    def _values(self, c: CandidateState, rung: float) -> list[float]:
        metrics = next(m.metrics for m in c.rungs if m.rung == rung)
        known = iter(self._estimates.known(c.candidate))
        return [
            o.minimised(metrics.get(MODELLED_OBJECTIVE, -math.inf)) if o.name == MODELLED_OBJECTIVE else next(known)
            for o in self._objectives
        ]


def promoted(values: ArrayLike, eta: float, went_on: Sequence[bool] = ()) -> NDArray[np.bool_]:
    """Who may go on, (n,) flags, of values (n, m), minimised. `went_on` (n,): who has already.

    At least one may, and at most a share 1/eta rounded up (more only for equals and for dominators of those that went on).
    """
    points = np.asarray(values, dtype=np.float64)
    n = len(points)
    if n == 0:
        return np.zeros(0, dtype=bool)
    keep = max(1, math.ceil(n / eta))
    rank = ranks(points)
    # How many are strictly better; equals share a place. Contributions decide only within the rank that does not fit whole.
    before = np.searchsorted(np.sort(rank), rank, side="left")
    for level in np.unique(rank[(before < keep)]):
        members = np.flatnonzero(rank == level)
        if before[members[0]] + len(members) > keep:
            share = contributions(points[members])
            before[members] += (share[None] > share[:, None]).sum(axis=1)
    flags: NDArray[np.bool_] = before < keep
    gone = np.flatnonzero(flags | (np.asarray(went_on, dtype=np.bool_) if len(went_on) else False))
    no_worse = np.all(points[:, None] <= points[None, gone], axis=2)
    less = np.any(points[:, None] < points[None, gone], axis=2)
    return flags | np.any(no_worse & less, axis=1)


def ranks(values: ArrayLike) -> NDArray[np.int_]:
    """Non-dominated rank (n,) of values (n, m): 0 for the front, 1 for the front of what is left, and so on."""
    points = _finite(np.asarray(values, dtype=np.float64))
    return np.asarray(moocore.pareto_rank(points), dtype=np.int_) if len(points) else np.zeros(0, dtype=np.int_)


def contributions(values: ArrayLike) -> NDArray[np.float64]:
    """Hypervolume (n,) that each of values (n, m), none dominating another, adds alone; ranges scaled to 1, equals tie at 0.

    The corner lies beyond the worst values, so that the ends of a front contribute too. Rounded, so that no tie hangs on a
    last bit.
    """
    points = _finite(np.asarray(values, dtype=np.float64))
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = np.divide(points - low, span, out=np.zeros_like(points), where=span > 0)
    return np.asarray(moocore.hv_contributions(scaled, ref=np.full(points.shape[1], 1.1))).round(12)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Infinities (nothing measured) as values worse than all others."""
    return np.nan_to_num(points, posinf=1e30, neginf=-1e30)
