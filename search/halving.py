"""Asynchronous multi-objective halving: which resting candidates go on, for any sampler. Pure.

A candidate goes on from a rung when it is among the best 1/ETA of all that reached that rung so far (ASHA, Li 2018), ordered by non-dominated
rank and, within a rank, by how much hypervolume it alone contributes there. Ranks, not a sort order: equals are equal. One that dominates any
candidate that went on goes on too, whatever its place: a strict dominator is never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsopt.objectives import Objective
from search.estimates import UNCERTAIN, Estimates
from search.history import CandidateState, History
from search.pareto import hypervolume, non_dominated
from search.policy import Decision, New, Promote, Wait

ETA = 3.0


class Halving:
    """The policy. Costs that a rung does not measure are taken from the estimates."""

    def __init__(self, objectives: Sequence[Objective], estimates: Estimates, eta: float = ETA) -> None:
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
        return New() if room else Wait()

    def _values(self, c: CandidateState, rung: float) -> list[float]:
        metrics = next(m.metrics for m in c.rungs if m.rung == rung)
        known = iter(self._estimates.known(c.candidate))
        return [
            o.minimised(metrics.get(UNCERTAIN, -math.inf)) if o.name == UNCERTAIN else next(known)
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
    rank, share = ranks(points), contributions(points)
    # How many are strictly better; equals share a place.
    better = (rank[None] < rank[:, None]) | ((rank[None] == rank[:, None]) & (share[None] > share[:, None]))
    flags = better.sum(axis=1) < keep
    gone = np.flatnonzero(np.asarray(went_on, dtype=bool)) if len(went_on) else np.zeros(0, dtype=int)
    gone = np.union1d(gone, np.flatnonzero(flags))
    no_worse = (points[:, None] <= points[None, gone]).all(axis=2)
    less = (points[:, None] < points[None, gone]).any(axis=2)
    return np.asarray(flags | (no_worse & less).any(axis=1), dtype=bool)


def ranks(values: ArrayLike) -> NDArray[np.int_]:
    """Non-dominated rank (n,) of values (n, m): 0 for the front, 1 for the front of what is left, and so on."""
    points = np.asarray(values, dtype=np.float64)
    rank = np.full(len(points), -1)
    level = 0
    while (left := np.flatnonzero(rank < 0)).size:
        rank[left[non_dominated(_finite(points[left]))]] = level
        level += 1
    return rank


def contributions(values: ArrayLike) -> NDArray[np.float64]:
    """Hypervolume (n,) that each point alone contributes to its own rank, in ranges scaled to 1; rounded, so that equals tie."""
    points = _finite(np.asarray(values, dtype=np.float64))
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = np.divide(points - low, span, out=np.zeros_like(points), where=span > 0)
    corner = np.full(points.shape[1], 1.1)  # beyond the worst, so that the ends of a front contribute too
    rank, found = ranks(points), np.zeros(len(points))
    for level in range(rank.max() + 1):
        members = np.flatnonzero(rank == level)
        whole = hypervolume(scaled[members], corner)
        for i, member in enumerate(members):
            found[member] = whole - hypervolume(np.delete(scaled[members], i, axis=0), corner)
    return found.round(12)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Infinities (nothing measured) as values worse than all others."""
    return np.nan_to_num(points, posinf=1e30, neginf=-1e30)
