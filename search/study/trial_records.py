"""Candidates as Optuna trials: how they are recorded in the journal and read back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement, Objective
from search.study.history import CandidateState

LOST_LIMIT = 3  # losses of one leg after which it does not run again: a search fails the candidate, refits stop


@dataclass(frozen=True, slots=True)
class TrialTimes:
    """When a trial began and ended, in ms since 1970; `ended_ms` is None while it has not finished."""

    started_ms: int
    ended_ms: int | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialTimes:
        """Reads the times that the journal records: local times without a zone, taken to be of this machine's."""
        assert trial.datetime_start is not None
        complete = trial.datetime_complete
        return cls(_ms(trial.datetime_start), None if complete is None else _ms(complete))


def _ms(local: datetime) -> int:
    return round(1000 * local.timestamp())


def interrupted(state: CandidateState) -> CandidateState:
    """Returns the candidate as it stands while no process drives its study."""
    return state if state.finished else replace(state, state="interrupted")


def ending(state: CandidateState, objectives: Sequence[Objective]) -> tuple[TrialState, list[float] | None]:
    """Returns a finished trial's state and values: COMPLETE with values in their units, FAIL for infrastructure, else PRUNED."""
    if state.final is not None and state.reason is None:
        values = [state.final.metrics.get(objective.name, math.nan) for objective in objectives]
        # A reference may lack an objective (the untuned base has no training time): it is on no front, but in the tables.
        return (TrialState.COMPLETE, values) if all(map(math.isfinite, values)) else (TrialState.PRUNED, None)
    given_up = state.state == "failed" and state.lost and state.lost.count(state.lost[-1]) >= LOST_LIMIT
    return TrialState.FAIL if given_up else TrialState.PRUNED, None


def candidate_state(trial: FrozenTrial) -> CandidateState:
    """Returns the candidate that a trial records."""
    attrs = trial.user_attrs
    progress = attrs["progress"]
    return CandidateState(
        number=trial.number,
        role=attrs["role"],
        state=progress["state"],
        candidate=Candidate.from_json(attrs["candidate"]),
        params=trial.params,
        rungs=tuple(Measurement(**measurement) for measurement in progress["rungs"]),
        reason=progress["reason"],
        lost=tuple(progress["lost"]),
        order=tuple(progress["order"]),
        row=attrs.get("row"),
    )


def progress_of(state: CandidateState) -> dict[str, Any]:
    """Returns what changes about a candidate, as one attribute: a crash between two writes would leave them inconsistent."""
    return {
        "state": state.state,
        "rungs": [measurement.to_json() for measurement in state.rungs],
        "reason": state.reason,
        "lost": list(state.lost),
        "order": list(state.order),
    }
