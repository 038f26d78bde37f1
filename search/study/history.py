"""The history of a study: the state of every candidate. Scheduler, tracking, results and progress line all read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement, Objective, minimised

Role = Literal["zero_shot", "full_depth", "start", "sampled"]
State = Literal["running", "resting", "complete", "stopped", "infeasible", "failed", "interrupted"]
REFERENCES: tuple[Role, ...] = ("zero_shot", "full_depth")


@dataclass(frozen=True, slots=True)
class CandidateState:
    """One candidate of a study.

    `rungs` are its measurements, ascending; only one at rung 1 is final. `order` gives for each of them how many measurements
    of the study came before it. `params` are the space's, empty for zero_shot.

    States: running (a leg is in flight or owed), resting (between legs), complete, stopped (not promoted), infeasible
    (breaks a limit or does not fit into memory), failed (by its own fault or lost too often), interrupted (no process drives
    the study). `reason` says why. A complete reference that breaks a limit has a reason too, which keeps it off the front.
    """

    number: int
    role: Role
    state: State
    candidate: Candidate
    params: dict[str, Any] = field(default_factory=dict)
    rungs: tuple[Measurement, ...] = ()
    reason: str | None = None
    lost: tuple[float, ...] = ()  # rungs of the legs that infrastructure lost, one entry a loss
    order: tuple[int, ...] = ()
    row: str | None = None  # its name, where the space lists its candidates

    @property
    def name(self) -> str:
        """For people: the name of its row, else its label."""
        return self.row or self.candidate.label

    @property
    def reached(self) -> float:
        """Share of the training budget spent, 0 before the first rung."""
        return self.rungs[-1].rung if self.rungs else 0.0

    @property
    def in_flight(self) -> bool:
        """Whether a leg of it runs or waits for a worker."""
        return self.state == "running"

    @property
    def reference(self) -> bool:
        """Whether it is a reference, which does not count as a trial."""
        return self.role in REFERENCES

    @property
    def final(self) -> Measurement | None:
        """The measurement at the full training budget; None before. Lower rungs never take its place."""
        return self.rungs[-1] if self.state == "complete" else None

    @property
    def finished(self) -> bool:
        """Whether no leg of it will ever run again."""
        return self.state in ("complete", "stopped", "infeasible", "failed")


History = tuple[CandidateState, ...]  # by trial number: history[n].number == n
_NOT_ADDED = ("first_step", "trained")  # parts and sums of the other entries among a leg's seconds


def leg_seconds(seconds: Mapping[str, float]) -> float:
    """Returns the seconds that a leg kept its worker, summed over its phases."""
    return sum(value for name, value in seconds.items() if name not in _NOT_ADDED)


def final_values(candidate: CandidateState, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Returns the minimised objectives of a fully trained candidate; None for one that cannot be on a front."""
    if candidate.final is None or candidate.reason is not None:
        return None
    return minimised(objectives, candidate.final.metrics)


def reference_point(history: History, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Returns the hypervolume's reference point, minimised: multiples of the full depth's values; None until it is measured."""
    full = next((c.final for c in history if c.role == "full_depth"), None)
    if full is None or (values := minimised(objectives, full.metrics)) is None:
        return None
    return tuple(v * o.reference_factor for v, o in zip(values, objectives, strict=True))
