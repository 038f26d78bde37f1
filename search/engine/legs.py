"""Legs: the next one of a candidate, and the seeds of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement
from search.study.history import REFERENCES, CandidateState

FULL_DEPTH = REFERENCES.index("full_depth")  # trial number of the full-depth reference in every study


class LegSource(Protocol):
    """Ask/tell interface that Ray's searcher drives: a search (`engine.search`) or refits (`followup.refit_legs`)."""

    def ask(self) -> Leg | None: ...
    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None: ...
    def report_lost(self, leg: Leg, refused: str | None = None) -> None: ...

    @property
    def stopped(self) -> str | None: ...
    @property
    def room(self) -> bool: ...
    @property
    def done(self) -> bool: ...


def next_leg(state: CandidateState, rungs: Sequence[float], seed: int) -> Leg:
    """Returns the leg from a candidate's last rung to the next; the zero-shot base, which is not trained, has a single one."""
    stops = (1.0,) if state.role == "zero_shot" else rungs
    stop = next(rung for rung in stops if rung > state.reached)
    return Leg(state.number, state.candidate, state.reached, stop, leg_seed(seed, state.number))


def leg_seed(seed: int, number: int) -> int:
    """Returns the seed of all legs of trial `number`, below 2**31, from the study's seed."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def teacher_leg(full_depth: Candidate, seed: int) -> Leg:
    """Returns the whole training of a study's full-depth reference, the teacher of candidates that distil."""
    return Leg(FULL_DEPTH, full_depth, 0.0, 1.0, leg_seed(seed, FULL_DEPTH))


def refit_seed(seed: int, number: int, replica: int) -> int:
    """Returns the seed of refit `replica` (from 0) of trial `number`; no leg of a search has the same."""
    return int(np.random.SeedSequence([seed, number, replica + 1]).generate_state(1)[0] >> 1)
