"""CandidateState: what the study knows of one candidate. The policy, the tracker, the front and the progress line read it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rsopt.objectives import Measurement
from rsopt.recipe import Candidate

Role = Literal["zero_shot", "full_depth", "start", "sampled"]
State = Literal["running", "resting", "complete", "stopped", "infeasible", "failed", "interrupted"]
REFERENCES: tuple[Role, ...] = ("zero_shot", "full_depth")


@dataclass(frozen=True, slots=True)
class CandidateState:
    """One candidate of a study.

    `rungs` are its measurements, ascending; only one at rung 1 is final. `params` are the space's (empty for zero_shot).
    States: running (a leg is in flight or owed), resting (between legs), complete, stopped (by the policy), infeasible
    (broke a limit, never ran), failed (`reason`: its own fault or lost too often), interrupted (nobody drives the study).
    """

    number: int
    role: Role
    state: State
    candidate: Candidate
    params: dict[str, Any] = field(default_factory=dict)
    rungs: tuple[Measurement, ...] = ()
    reason: str | None = None
    lost: tuple[float, ...] = ()  # rungs of the legs that infrastructure lost, one entry a loss

    @property
    def reached(self) -> float:
        """Share of the training budget behind it, 0 before the first rung."""
        return self.rungs[-1].rung if self.rungs else 0.0

    @property
    def in_flight(self) -> bool:
        """Whether a leg of it runs or is owed a worker."""
        return self.state == "running"

    @property
    def reference(self) -> bool:
        """Whether it is one of the reference points, which do not count as trials."""
        return self.role in REFERENCES

    @property
    def final(self) -> Measurement | None:
        """The measurement at the full training budget; values at lower rungs never pass for it."""
        return self.rungs[-1] if self.state == "complete" else None

    @property
    def finished(self) -> bool:
        """Whether no leg of it will ever run again."""
        return self.state in ("complete", "stopped", "infeasible", "failed")

    def having(self, **changes: Any) -> CandidateState:
        """The same candidate with some fields changed."""
        return replace(self, **changes)


History = tuple[CandidateState, ...]  # by trial number: history[n].number == n
