"""CandidateState: what the study knows of one candidate. The policy, the tracker, the front and the progress line read it."""

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

    `rungs` are its measurements, ascending; only one at rung 1 is final. `params` are the space's (empty for zero_shot).
    `order` says for each of `rungs` how many of the study's measurements came before it. States: running (a leg is in
    flight or owed), resting (between legs), complete, stopped (by the policy), infeasible (broke a limit), failed
    (`reason`: its own fault or lost too often), interrupted (nobody drives the study). A complete reference point that
    breaks a limit has a `reason`: it stays a row beside the front.
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
        """For people: its row's name, else what it is."""
        return self.row or self.candidate.label

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


History = tuple[CandidateState, ...]  # by trial number: history[n].number == n
_NO_TIME = ("first_step", "trained")  # marks and sums among a leg's seconds, which are no time of their own


def leg_seconds(seconds: Mapping[str, float]) -> float:
    """How long a leg kept its worker, from where its time went."""
    return sum(value for name, value in seconds.items() if name not in _NO_TIME)


def final_values(candidate: CandidateState, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The minimised objectives of a fully trained candidate; None for one that is on no front."""
    if candidate.final is None or candidate.reason is not None:
        return None
    return minimised(objectives, candidate.final.metrics)


def reference_point(history: History, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The hypervolume's reference point, minimised: a share of the full-depth LoRA base; None until that is measured."""
    full = next((c.final for c in history if c.role == "full_depth"), None)
    if full is None or (values := minimised(objectives, full.metrics)) is None:
        return None
    return tuple(v * o.reference_factor for v, o in zip(values, objectives, strict=True))
