"""What a candidate's next leg is, and whether what came back from one is a measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement, Objective
from search.study.history import REFERENCES, CandidateState

FULL_DEPTH = REFERENCES.index("full_depth")  # the number of that trial in every study


class LegSource(Protocol):
    """What hands legs to Ray and hears what became of them: a search (search.study), or refits of its picks (refit_legs)."""

    def ask(self) -> Leg | None: ...
    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None: ...
    def report_lost(self, leg: Leg, refused: str | None = None) -> None: ...

    @property
    def stopped(self) -> str | None: ...
    @property
    def done(self) -> bool: ...


def next_leg(state: CandidateState, rungs: Sequence[float], seed: int) -> Leg:
    """The leg from where a candidate stands to its next rung; the zero-shot base is not trained and has a single one."""
    stops = (1.0,) if state.role == "zero_shot" else rungs
    stop = next(rung for rung in stops if rung > state.reached)
    return Leg(state.number, state.candidate, state.reached, stop, leg_seed(seed, state.number))


def leg_seed(seed: int, number: int) -> int:
    """Seed of a candidate's legs, below 2**31, from the study's seed and the trial's number alone."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def teacher_leg(full_depth: Candidate, seed: int) -> Leg:
    """The whole training of a study's full-depth reference, which teaches candidates that distil."""
    return Leg(FULL_DEPTH, full_depth, 0.0, 1.0, leg_seed(seed, FULL_DEPTH))


def refit_seed(seed: int, number: int, replica: int) -> int:
    """Seed of a trial's training number `replica` beside the search's own, which no leg of any search has."""
    return int(np.random.SeedSequence([seed, number, replica + 1]).generate_state(1)[0] >> 1)


def flaw(state: CandidateState, leg: Leg, measurement: Measurement, objectives: Sequence[Objective]) -> str | None:
    """Why a measurement is none: an objective that is not finite or, at the last rung, missing."""
    for objective in objectives:
        value = measurement.metrics.get(objective.name)
        if value is not None and not math.isfinite(value):
            return f"nan: {objective.name} is {value} at rung {measurement.rung:g}"
        # The untuned base has no training time; it is a row beside the front all the same.
        if value is None and leg.last and state.role != "zero_shot":
            return f"missing: no {objective.name} at rung {measurement.rung:g}"
    return None
