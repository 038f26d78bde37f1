"""Proposer: the next candidate that the study has not seen yet: a starting point, else a sampled one."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from rsopt.core.candidate import Candidate
from search.optimizer.sampler import Draw, Sampler
from search.space.bound_space import BoundSpace, Params
from search.study.history import History, Role

REDRAWS = 16  # by the sampler itself, which may insist on what it likes
RANDOM_REDRAWS = 100  # then at random
COUNTABLE = 20_000  # combinations up to which what was never tried is looked up at last


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate the study has not seen, and the draw it comes from. `start` is the starting point it stems from."""

    role: Role
    candidate: Candidate
    draw: Draw
    start: int | None = None


class Proposer:
    """Starting points in order from the `start`-th on, then the sampler's draws. A repeated candidate is drawn again.

    Attempts are numbered and bounded, so that the same study proposes the same whatever happened to its driver.
    """

    def __init__(self, space: BoundSpace, sampler: Sampler, seed: int, start: int) -> None:
        self._space, self._sampler, self._seed = space, sampler, seed
        self._start = start

    def propose(self, history: History, seen: Container[str]) -> Proposal | None:
        """A candidate for the trial after `history` whose key is not in `seen`; None when the space is exhausted."""
        number = len(history)
        while self._start < len(self._space.starts):
            start, self._start = self._start, self._start + 1
            for attempt in range(REDRAWS):
                draw = self._sampler.draw(number, history, attempt, given=self._space.starts[start])
                candidate = self._space.candidate(draw.params)
                if candidate.key not in seen:
                    return Proposal("start", candidate, draw, start)
                self._sampler.drop(draw)
                if draw.params == self._space.starts[start]:
                    break  # nothing of it is drawn: the same again and again
        if self._space.names:
            return None  # the list is all there is to try
        for attempt in range(REDRAWS + RANDOM_REDRAWS):
            draw = self._sampler.draw(number, history, attempt, name="random" if attempt >= REDRAWS else None)
            candidate = self._space.candidate(draw.params)
            if candidate.key not in seen:
                return Proposal("sampled", candidate, draw)
            self._sampler.drop(draw)
        return self._untried(number, history, seen)

    def _untried(self, number: int, history: History, seen: Container[str]) -> Proposal | None:
        """One of the combinations that were never tried, by lot."""
        if self._space.size is None or self._space.size > COUNTABLE:
            return None
        left: dict[str, tuple[Params, Candidate]] = {}
        for params in self._space.combinations():
            candidate = self._space.candidate(params)
            if candidate.key not in seen:
                left.setdefault(candidate.key, (params, candidate))
        if not left:
            return None
        lot = int(np.random.default_rng([self._seed, number]).integers(len(left)))
        params, candidate = list(left.values())[lot]
        return Proposal("sampled", candidate, self._sampler.draw(number, history, given=params))
