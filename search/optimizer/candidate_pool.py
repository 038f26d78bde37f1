"""Prospects: the new candidates that might be begun next, as arrays: a small space whole, else a fresh sample of a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsopt.core.candidate import Candidate
from search.optimizer.cost_estimator import CostEstimator
from search.space.bound_space import BoundSpace, Params
from search.space.encoding import Encoder
from search.study.history import History

Array = NDArray[np.float64]
Limit = Callable[[Candidate], str | None]
Drawn = tuple[Params, Candidate, list[float]]
RANDOM, NEIGHBOURS = 192, 96  # candidates looked at where the space is large
TRIED = 4096  # random params drawn at most to find a quarter of as many that keep the limits
ENUMERATED = 2500  # spaces up to this size are looked at whole


@dataclass(frozen=True, slots=True)
class CandidatePool:
    """Candidates (n) with their rows for the model (n, columns)."""

    params: Sequence[Params]
    candidates: Sequence[Candidate]
    rows: Array

    def __len__(self) -> int:
        return len(self.params)

    @property
    def effort(self) -> Array:
        """Training (n,) that each takes to its end, in passes over the data."""
        return effort_of(self.candidates)


def effort_of(candidates: Sequence[Candidate]) -> Array:
    """Training (n,) to the end, in passes over the data."""
    return np.array([c.recipe.epochs for c in candidates], dtype=np.float64)


class PoolBuilder:
    """Draws pools for one study: neither tried before nor beyond a limit. A function of (history, parents, seed)."""

    def __init__(
        self, space: BoundSpace, encoder: Encoder, seed: int, estimates: CostEstimator, limit: Limit | None
    ) -> None:
        self._space, self._encoder, self._seed = space, encoder, seed
        self._estimates, self._limit = estimates, limit
        self._tried: set[Candidate] = set()
        self._counted = 0
        size = space.size
        self._whole = _Whole(space, encoder) if size is not None and size <= ENUMERATED else None
        self._randoms: tuple[int, list[Drawn]] = (-1, [])

    def pool(self, history: History, parents: Sequence[Params]) -> CandidatePool:
        """The candidates to choose from; `parents` are params whose neighbours are looked at where the space is large."""
        if len(history) < self._counted:
            self._tried, self._counted = set(), 0
        self._tried.update(c.candidate for c in history[self._counted :])
        self._counted = len(history)
        self._estimates.learn(history)
        if self._whole is not None:
            return self._whole.left(self._tried, len(history), self._keeps, self._estimates.version)
        return self._sampled(history, parents)

    def _sampled(self, history: History, parents: Sequence[Params]) -> CandidatePool:
        found: dict[Candidate, Drawn] = {}

        def look(one: Drawn) -> None:
            _, candidate, _ = one
            if candidate not in self._tried and candidate not in found and self._keeps(candidate):
                found[candidate] = one

        def drawn(params: Params) -> Drawn:
            return params, self._space.candidate(params), self._encoder.encode(params)

        if self._randoms[0] != len(history):
            rng = np.random.default_rng([self._seed, len(history), 0])
            self._randoms = (len(history), [drawn(self._encoder.random(rng)) for _ in range(RANDOM)])
        for one in self._randoms[1]:
            look(one)
        if len(found) < RANDOM // 4 and self._limit is not None:  # the limits exclude most of the space: look further
            rng = np.random.default_rng([self._seed, len(history), 3])
            for _ in range(TRIED):
                look(drawn(self._encoder.random(rng)))
                if len(found) >= RANDOM // 4:
                    break
        rng = np.random.default_rng([self._seed, len(history), 1])
        for i in range(NEIGHBOURS if parents else 0):
            look(drawn(self._encoder.neighbour(parents[i % len(parents)], rng)))
        rows = np.array([row for *_, row in found.values()]).reshape(len(found), -1)
        return CandidatePool([params for params, *_ in found.values()], list(found), rows)

    def _keeps(self, candidate: Candidate) -> bool:
        return self._limit is None or self._limit(candidate) is None


class _Whole:
    """Every candidate of a small space; what is left of them is worked out again only when something changed."""

    def __init__(self, space: BoundSpace, encoder: Encoder) -> None:
        distinct: dict[Candidate, Params] = {}
        for params in space.combinations():
            distinct.setdefault(space.candidate(params), params)
        self._all = CandidatePool(
            list(distinct.values()), list(distinct), np.array([encoder.encode(p) for p in distinct.values()])
        )
        self._left: tuple[tuple[int, int], CandidatePool] | None = None

    def left(
        self, tried: set[Candidate], trials: int, keeps: Callable[[Candidate], bool], version: int
    ) -> CandidatePool:
        """Those not tried that keep the limits, as of so many trials and this version of the estimates."""
        if self._left is None or self._left[0] != (trials, version):
            pool = self._all
            chosen = [i for i, c in enumerate(pool.candidates) if c not in tried and keeps(c)]
            kept = CandidatePool(
                [pool.params[i] for i in chosen], [pool.candidates[i] for i in chosen], pool.rows[chosen]
            )
            self._left = ((trials, version), kept)
        return self._left[1]
