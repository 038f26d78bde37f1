"""Transitions of a candidate: pure functions from its state and what happened to its next state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement, Objective
from search.study.history import CandidateState
from search.study.trial_records import LOST_LIMIT

OUT_OF_MEMORY = "memory: "  # begins the reason of a candidate that ran and did not fit into memory


def after_leg(
    state: CandidateState, leg: Leg, outcome: Measurement | Fault, objectives: Sequence[Objective], order: int
) -> CandidateState:
    """Returns the candidate after a leg: it rests at the leg's rung, or has failed and no rung is added.

    Metrics that are not finite are left out, unless they are objectives: then the candidate fails.

    Args:
        state: the candidate while the leg runs.
        leg: the leg that ended.
        outcome: its measurement, or why the candidate failed. Out of memory makes it infeasible.
        objectives: all of them must be measured at the last rung.
        order: number of measurements that the study holds so far.
    """
    if isinstance(outcome, Fault) and outcome.kind == "memory":
        return replace(state, state="infeasible", reason=OUT_OF_MEMORY + outcome.reason)
    if isinstance(outcome, Fault):
        return replace(state, state="failed", reason=f"{outcome.kind}: {outcome.reason}")
    if reason := _invalid(state, leg, outcome, objectives):
        return replace(state, state="failed", reason=reason)
    metrics = {name: value for name, value in outcome.metrics.items() if math.isfinite(value)}
    measurement = Measurement(outcome.rung, metrics, outcome.seconds)
    return replace(state, state="resting", rungs=(*state.rungs, measurement), order=(*state.order, order))


def completed(state: CandidateState, broken_limit: str | None) -> CandidateState:
    """Returns a fully trained candidate as complete, or as infeasible if it breaks a limit.

    A reference that breaks one is complete with a reason, which keeps it off the front but in the tables.
    """
    return replace(state, state="infeasible" if broken_limit and not state.reference else "complete", reason=broken_limit)


def after_loss(state: CandidateState, leg: Leg, give_up: bool) -> CandidateState:
    """Returns the candidate after infrastructure lost its leg. With `give_up` it fails at the `LOST_LIMIT`-th loss of one leg."""
    state = replace(state, lost=(*state.lost, leg.stop))
    if not give_up or state.lost.count(leg.stop) < LOST_LIMIT:
        return state
    reason = f"infrastructure: lost {LOST_LIMIT} times between {leg.start:g} and {leg.stop:g} of its training"
    return replace(state, state="failed", reason=reason)


def breaks_limit(state: CandidateState) -> bool:
    """Whether a candidate is infeasible for a limit of the user. One that ran out of memory counts as a trial."""
    return state.state == "infeasible" and not (state.reason or "").startswith(OUT_OF_MEMORY)


def _invalid(state: CandidateState, leg: Leg, measurement: Measurement, objectives: Sequence[Objective]) -> str | None:
    """Why a measurement does not count: an objective is not finite or, at the last rung, missing."""
    for objective in objectives:
        value = measurement.metrics.get(objective.name)
        if value is not None and not math.isfinite(value):
            return f"nan: {objective.name} is {value} at rung {measurement.rung:g}"
        # The untuned base has no training time, and is on no front anyway.
        if value is None and leg.last and state.role != "zero_shot":
            return f"missing: no {objective.name} at rung {measurement.rung:g}"
    return None
