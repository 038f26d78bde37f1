"""Warm start: what another study found, as far as this space can say it. Kept in the study's folder: resumes see the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from rsopt.core.objectives import OBJECTIVES
from rsopt.errors import UserError
from search.optimizer.pareto import non_dominated
from search.space.bound_space import BoundSpace, Params, contains
from search.study.history import History, final_values
from search.study.settings import Settings, StudyMetadata


@dataclass(frozen=True, slots=True)
class PriorObservation:
    """A candidate of the other study: params, CIDEr by rung, and its metrics at the end (empty if it was stopped)."""

    params: Params
    rungs: tuple[tuple[float, float], ...]
    final: dict[str, float]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What is told to the sampler, and the other front's params, tried first. `notes` say what differs, for people."""

    told: tuple[PriorObservation, ...] = ()
    starts: tuple[Params, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same back."""
        told = [{"params": t.params, "rungs": [list(r) for r in t.rungs], "final": t.final} for t in self.told]
        return {"told": told, "starts": list(self.starts), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WarmStart:
        """Inverse of `to_json`."""
        told = tuple(
            PriorObservation(t["params"], tuple((r, v) for r, v in t["rungs"]), t["final"]) for t in data["told"]
        )
        return cls(told, tuple(data["starts"]), tuple(data["notes"]))


def warm_start(
    space: BoundSpace, settings: Settings, metadata: StudyMetadata, other: tuple[Settings, StudyMetadata, History]
) -> WarmStart:
    """What `other` tells a study with these settings over `space`.

    Its CIDEr is told only where base and data are the same. Another data set: its front is tried first, nothing is told.
    Raises UserError for another base, whose layers are not these, and where the space can express nothing of it.
    """
    theirs, their_metadata, history = other
    if theirs.base != settings.base:
        raise UserError(
            f"--from-study {theirs.name}: its base is {theirs.base}, not {settings.base}; layers do not carry over"
        )
    notes = []
    same_data = their_metadata.floor == metadata.floor and (theirs.data is None) == (settings.data is None)
    if not same_data:
        notes.append(
            f"study {theirs.name} ran on other data ({theirs.data or 'mini'}): its front is tried first, its scores are not told"
        )
    measured = [c for c in history if c.rungs and c.params and c.role != "zero_shot"]
    fitting = [c for c in measured if expresses(space, c.params) and space.candidate(c.params) == c.candidate]
    if not fitting:
        raise UserError(f"--from-study {theirs.name}: this space can express none of its {len(measured)} candidates")
    if len(fitting) < len(measured):
        notes.append(f"{len(measured) - len(fitting)} candidates of study {theirs.name} lie outside this space")
    told = tuple(
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
    return WarmStart(told, starts, tuple(notes))


def expresses(space: BoundSpace, params: Mapping[str, Any]) -> bool:
    """Whether these params are a point of the space, no more and no less."""
    names = [name for name in space.distributions if space.active(name, params)]
    return set(names) == set(params) and all(contains(space.distributions[n], params[n]) for n in names)


def frozen_trials(space: BoundSpace, told: Sequence[PriorObservation], objectives: Sequence[str]) -> list[FrozenTrial]:
    """The finished ones as trials for Optuna's samplers."""
    found = []
    for t in told:
        if all(name in t.final for name in objectives):
            over = {name: space.distributions[name] for name in t.params}
            values = [t.final[name] for name in objectives]
            found.append(create_trial(state=TrialState.COMPLETE, values=values, params=t.params, distributions=over))
    return found


@dataclass(frozen=True, slots=True)
class OtherStudy:
    """What is needed of it. `rankings` are its measured ones as JSON: the same names must mean the same layers."""

    settings: Settings
    metadata: StudyMetadata
    history: History
    rankings: dict[str, Any] | None
