"""Pools of new candidates that might be started next: a small space whole, else a fresh sample of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsopt.core.candidate import Candidate
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.feasibility import LimitCheck
from search.space.bound_space import BoundSpace, Params
from search.space.encoding import Encoder
from search.study.history import History

Array = NDArray[np.float64]
RANDOM, NEIGHBOURS = 192, 96  # candidates drawn where the space is large
TRIES = 4096  # random draws at most, to find a quarter of RANDOM that keep the limits
ENUMERATED = 2500  # spaces up to this size are pooled whole


@dataclass(frozen=True, slots=True)
class CandidatePool:
    """Candidates (n) with their rows for the model (n, columns)."""

    params: Sequence[Params]
    candidates: Sequence[Candidate]
    rows: Array

    def __len__(self) -> int:
        return len(self.params)


def training_passes(candidates: Sequence[Candidate]) -> Array:
    """Returns the whole training (n,) of each candidate, in passes over the data."""
    return np.array([c.recipe.epochs for c in candidates], dtype=np.float64)


class PoolBuilder:
    """Builds the pools of one study: candidates not tried before that keep the limits. Depends on (history, parents, seed)."""

    def __init__(
        self, space: BoundSpace, encoder: Encoder, seed: int, estimator: CostEstimator, limit: LimitCheck | None
    ) -> None:
        """Creates the builder.

        Args:
            space: what is searched.
            encoder: makes the rows, and draws random and neighbouring params.
            seed: the study's seed.
            estimator: costs that `limit` depends on.
            limit: gives the reason why a candidate breaks a limit.
        """
        self._space, self._encoder, self._seed = space, encoder, seed
        self._estimator, self._limit = estimator, limit
        self._tried: set[Candidate] = set()
        self._counted = 0  # candidates of the history that are in `_tried`
        size = space.size
        self._whole = self._whole_space() if size is not None and size <= ENUMERATED else None
        # What is left of the whole space, by the numbers of trials and of changes to the estimates.
        self._untried: tuple[tuple[int, int], CandidatePool] | None = None
        self._random: tuple[int, list[tuple[Params, Candidate]]] = (-1, [])  # random candidates, by trials

    def pool(self, history: History, parents: Sequence[Params]) -> CandidatePool:
        """Returns the candidates to choose from. In a large space neighbours of the `parents` are among them."""
        if len(history) < self._counted:
            self._tried, self._counted = set(), 0
        self._tried.update(c.candidate for c in history[self._counted :])
        self._counted = len(history)
        self._estimator.learn(history)
        if self._whole is None:
            return self._sampled(len(history), parents)
        key = (len(history), self._estimator.version)
        if self._untried is None or self._untried[0] != key:
            pool = self._whole
            left = [i for i, c in enumerate(pool.candidates) if self._may_start(c)]
            params, candidates = [pool.params[i] for i in left], [pool.candidates[i] for i in left]
            self._untried = (key, CandidatePool(params, candidates, pool.rows[left]))
        return self._untried[1]

    def _whole_space(self) -> CandidatePool:
        distinct: dict[Candidate, Params] = {}
        for params in self._space.combinations():
            distinct.setdefault(self._space.candidate(params), params)
        return self._pool_of(distinct)

    def _sampled(self, trials: int, parents: Sequence[Params]) -> CandidatePool:
        """Returns random candidates and neighbours of the parents, for a study of so many trials."""
        pool: dict[Candidate, Params] = {}

        def add(params: Params, candidate: Candidate) -> None:
            if candidate not in pool and self._may_start(candidate):
                pool[candidate] = params

        if self._random[0] != trials:
            rng = np.random.default_rng([self._seed, trials, 0])
            self._random = (trials, [self._with_candidate(self._encoder.random(rng)) for _ in range(RANDOM)])
        for params, candidate in self._random[1]:
            add(params, candidate)
        if len(pool) < RANDOM // 4 and self._limit is not None:  # the limits exclude most of the space: draw more
            rng = np.random.default_rng([self._seed, trials, 3])
            for _ in range(TRIES):
                add(*self._with_candidate(self._encoder.random(rng)))
                if len(pool) >= RANDOM // 4:
                    break
        rng = np.random.default_rng([self._seed, trials, 1])
        for i in range(NEIGHBOURS if parents else 0):
            add(*self._with_candidate(self._encoder.neighbour(parents[i % len(parents)], rng)))
        return self._pool_of(pool)

    def _with_candidate(self, params: Params) -> tuple[Params, Candidate]:
        return params, self._space.candidate(params)

    def _pool_of(self, params_of: dict[Candidate, Params]) -> CandidatePool:
        rows = np.array([self._encoder.encode(params) for params in params_of.values()], dtype=np.float64)
        rows = rows.reshape(len(params_of), len(self._encoder.groups))
        return CandidatePool(list(params_of.values()), list(params_of), rows)

    def _may_start(self, candidate: Candidate) -> bool:
        return candidate not in self._tried and (self._limit is None or self._limit(candidate) is None)
