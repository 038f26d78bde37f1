"""Proposes the next candidate that a study has not seen: a starting point, else one that the sampler suggests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.candidate import Candidate
from search.optimizer.sampler import Sampler, StatefulSampler, Suggestion
from search.space.bound_space import COUNTABLE, BoundSpace, Params
from search.study.history import CandidateState, History, Role

ATTEMPTS = 16  # suggestions of the sampler for one trial, which may insist on a candidate that the study has
RANDOM_ATTEMPTS = 100  # then random ones


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate that the study has not seen. `start` is the index of the starting point it completes."""

    role: Role
    candidate: Candidate
    suggestion: Suggestion
    start: int | None = None


class Proposer:
    """Starting points in order, then the sampler's suggestions; a candidate that the study has is suggested again.

    Attempts are numbered and bounded, so that a resumed study proposes what an uninterrupted one would have.
    Every candidate of the study must be passed to `accept` or `add`.
    """

    def __init__(self, space: BoundSpace, sampler: Sampler, seed: int) -> None:
        self._space, self._sampler, self._seed = space, sampler, seed
        self._stateful = sampler if isinstance(sampler, StatefulSampler) else None
        self._next_start = 0
        self._seen: set[str] = set()  # keys of the study's candidates

    def propose(self, history: History) -> Proposal | None:
        """Returns a candidate for the trial after `history`; None when the space is exhausted."""
        number = len(history)
        while self._next_start < len(self._space.starts):
            start, self._next_start = self._next_start, self._next_start + 1
            given = self._space.starts[start]
            for attempt in range(ATTEMPTS):
                suggestion = self._sampler.suggest(number, history, attempt, given)
                if (candidate := self._unseen(suggestion)) is not None:
                    return Proposal("start", candidate, suggestion, start)
                if suggestion.params == given:
                    break  # nothing of it is drawn: every attempt gives the same
        if self._space.names:
            return None  # a fixed list of candidates
        for attempt in range(ATTEMPTS + RANDOM_ATTEMPTS):
            suggestion = self._sampler.suggest(number, history, attempt, random=attempt >= ATTEMPTS)
            if (candidate := self._unseen(suggestion)) is not None:
                return Proposal("sampled", candidate, suggestion)
        return self._untried(number, history)

    def accept(self, state: CandidateState, proposal: Proposal) -> None:
        """The proposal became the candidate `state` of the study."""
        self._seen.add(state.candidate.key)
        if self._stateful:
            self._stateful.accept(proposal.suggestion, state.number)

    def add(self, state: CandidateState, trial: FrozenTrial) -> None:
        """Adds a candidate that was not proposed here, with its trial: a reference, or one of an earlier session."""
        self._seen.add(state.candidate.key)
        if self._stateful and trial.params:
            self._stateful.add(trial)
        tried = len(self._space.starts) if state.role == "sampled" else trial.user_attrs.get("start", -1) + 1
        self._next_start = max(self._next_start, tried)

    def tell(self, number: int, state: TrialState, values: list[float] | None) -> None:
        """Trial `number` of the study ended with these values, in the objectives' own units."""
        if self._stateful:
            self._stateful.tell(number, state, values)

    def _unseen(self, suggestion: Suggestion) -> Candidate | None:
        """The suggested candidate; None, and the suggestion is rejected, if the study has it."""
        candidate = self._space.candidate(suggestion.params)
        if candidate.key not in self._seen:
            return candidate
        if self._stateful:
            self._stateful.reject(suggestion)
        return None

    def _untried(self, number: int, history: History) -> Proposal | None:
        """A random one of the combinations that were never tried, where they can be counted."""
        if self._space.size is None or self._space.size > COUNTABLE:
            return None
        untried: dict[str, tuple[Params, Candidate]] = {}
        for params in self._space.combinations():
            candidate = self._space.candidate(params)
            if candidate.key not in self._seen:
                untried.setdefault(candidate.key, (params, candidate))
        if not untried:
            return None
        index = int(np.random.default_rng([self._seed, number]).integers(len(untried)))
        params, candidate = list(untried.values())[index]
        return Proposal("sampled", candidate, self._sampler.suggest(number, history, given=params))
