"""Warm start: what another study measured, as far as this space can express it. Stored in the study's folder for resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from rsopt.core.objectives import OBJECTIVES
from rsopt.errors import UserError
from search.optimizer.pareto import non_dominated
from search.space.bound_space import BoundSpace, Params
from search.study.history import History, final_values
from search.study.settings import Settings, StudyMetadata


@dataclass(frozen=True, slots=True)
class PriorObservation:
    """A candidate of another study: params, CIDEr by rung, and its metrics at the end (empty if it was stopped)."""

    params: Params
    rungs: tuple[tuple[float, float], ...]
    final: dict[str, float]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Observations that the optimizer learns from, and params of the other study's front, which are tried first.

    `notes` say, for people, where the two studies differ.
    """

    observations: tuple[PriorObservation, ...] = ()
    starts: tuple[Params, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict; `from_json` gives the same value back."""
        observations = [{"params": o.params, "rungs": [list(r) for r in o.rungs], "final": o.final} for o in self.observations]
        return {"told": observations, "starts": list(self.starts), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WarmStart:
        """Inverse of `to_json`."""
        observations = tuple(
            PriorObservation(o["params"], tuple((r, v) for r, v in o["rungs"]), o["final"]) for o in data["told"]
        )
        return cls(observations, tuple(data["starts"]), tuple(data["notes"]))


@dataclass(frozen=True, slots=True)
class OtherStudy:
    """The study that another one starts from.

    `rankings` are its measured ones as JSON: in both studies the same ranking must mean the same layers.
    """

    settings: Settings
    metadata: StudyMetadata
    history: History
    rankings: dict[str, Any] | None


def warm_start(space: BoundSpace, settings: Settings, metadata: StudyMetadata, other: OtherStudy) -> WarmStart:
    """Returns what a study with these settings over `space` can use of another study.

    Its CIDEr is used only where base and data are the same. On other data, its front is tried first and its scores are not used.
    Raises UserError for another base, whose layers are different ones, and where the space can express no candidate of it.
    """
    name = other.settings.name
    if other.settings.base != settings.base:
        raise UserError(f"--from-study {name}: its base is {other.settings.base}, not {settings.base}; layers do not carry over")
    notes = []
    # A digest of the data: any change of captions changes the score of the commonest one.
    same_scores = other.metadata.baselines.get("blind") == metadata.baselines.get("blind")
    same_data = same_scores and (other.settings.data is None) == (settings.data is None)
    if not same_data:
        data = other.settings.data or "mini"
        notes.append(f"study {name} ran on other data ({data}): its front is tried first, its scores are not used")
    measured = [c for c in other.history if c.rungs and c.params and c.role != "zero_shot"]
    fitting = [c for c in measured if space.contains(c.params) and space.candidate(c.params) == c.candidate]
    if not fitting:
        raise UserError(f"--from-study {name}: this space can express none of its {len(measured)} candidates")
    if len(fitting) < len(measured):
        notes.append(f"{len(measured) - len(fitting)} candidates of study {name} lie outside this space")
    observations = tuple(
        PriorObservation(
            c.params,
            tuple((m.rung, m.metrics["cider"]) for m in c.rungs if "cider" in m.metrics),
            dict(c.final.metrics) if c.final else {},
        )
        for c in fitting
        if same_data
    )
    objectives = [OBJECTIVES[name] for name in metadata.objectives]
    done = [(c, v) for c in fitting if (v := final_values(c, objectives)) is not None]
    flags = non_dominated([v for _, v in done])
    starts = tuple(c.params for (c, _), flag in zip(done, flags, strict=True) if flag)
    return WarmStart(observations, starts, tuple(notes))


def frozen_trials(space: BoundSpace, observations: Sequence[PriorObservation], objectives: Sequence[str]) -> list[FrozenTrial]:
    """Returns the fully trained observations as trials for Optuna's samplers."""
    return [
        create_trial(
            state=TrialState.COMPLETE,
            values=[o.final[name] for name in objectives],
            params=o.params,
            distributions={name: space.distributions[name] for name in o.params},
        )
        for o in observations
        if all(name in o.final for name in objectives)
    ]
