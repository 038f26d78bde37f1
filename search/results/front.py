"""The front of a study as typed values: what `front.json` stores. `search.results.build_front` makes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rsopt.core.baseline import BaselineScore, baselines_from_json, baselines_to_json, without_baselines
from rsopt.core.candidate import Candidate
from rsopt.core.inference import InferenceConfig
from rsopt.core.objectives import OBJECTIVES, Objective
from rsopt.core.recipe import Recipe
from rsopt.core.variant import Variant
from rsopt.latency.remeasured import RemeasuredLatency
from search.results.refits import RefitScores
from search.study.history import Role, State


@dataclass(frozen=True, slots=True)
class ExpectedCider:
    """CIDEr x100 that is expected on fresh images which are as hard on the whole, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, half: float) -> ExpectedCider:
        """Makes one from the mean and half the width of the interval. No CIDEr is below 0."""
        return cls(*(round(max(0.0, value), 1) for value in (mean, mean - half, mean + half)))

    def __str__(self) -> str:
        """Mean and half the width for people, such as `291 ± 32`."""
        return f"{self.mean:.0f} ± {self.high - self.mean:.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEntry:
    """One candidate of a study.

    `metrics` are of the highest rung that it reached, `objectives` of the full training budget alone, with their names as
    keys. `pareto` marks the members of the front. `row` is its name where the space lists its candidates, `rung` the share
    of the budget behind it. Members alone have `latency_again`, `same_cider`, the trials whose CIDEr cannot be
    distinguished from theirs, and `cider_groups`: letters that they share with exactly these trials. `expected_cider` is of
    finished trials, where it is known (`search.results.expected_cider`).
    """

    id: int
    name: str
    row: str | None = None
    baseline: str | None = None
    role: Role
    state: State
    reason: str | None
    pareto: bool
    variant: Variant
    recipe: Recipe
    params: dict[str, Any]
    objectives: dict[str, float]
    metrics: dict[str, float]
    rung: float
    latency_again: RemeasuredLatency | None = None
    same_cider: tuple[int, ...] | None = None
    cider_groups: tuple[str, ...] | None = None
    expected_cider: ExpectedCider | None = None

    @property
    def candidate(self) -> Candidate:
        """What was trained."""
        return Candidate(self.variant, self.recipe, self.baseline)

    @property
    def expected_metrics(self) -> dict[str, float]:
        """What is expected of its CIDEr, named as metrics are; empty where that is not known."""
        expected = self.expected_cider
        if expected is None:
            return {}
        return {"cider_expected": expected.mean, "cider_expected_low": expected.low, "cider_expected_high": expected.high}

    @property
    def finished(self) -> bool:
        """Whether it was trained and measured to the end."""
        return self.state == "complete"

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same entry back."""
        nested = {
            "variant": self.variant.to_json(),
            "recipe": asdict(self.recipe),
            "latency_again": self.latency_again and self.latency_again.to_json(),
            "expected_cider": self.expected_cider and asdict(self.expected_cider),
        }
        return _without_none(_shallow(self) | nested, ("latency_again", "same_cider", "cider_groups", "expected_cider"))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FrontEntry:
        """Inverse of `to_json`."""
        nested = {"variant": Variant.from_json(data["variant"]), "recipe": Recipe(**data["recipe"])}
        if "latency_again" in data:
            nested["latency_again"] = RemeasuredLatency.from_json(data["latency_again"])
        if "expected_cider" in data:
            nested["expected_cider"] = ExpectedCider(**data["expected_cider"])
        nested |= {name: tuple(data[name]) for name in ("same_cider", "cider_groups") if name in data}
        return cls(**{**data, **nested})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontVariant:
    """An inference variant of a trial, with `pareto` among the front's members and all such variants together.

    `latency` says how it was timed; `metrics` and `objectives` are as in a FrontEntry.
    """

    trial: int
    form: InferenceConfig
    metrics: dict[str, float]
    latency: dict[str, Any] | None
    objectives: dict[str, float]
    pareto: bool

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same variant back."""
        return _without_none(asdict(self), ("latency",))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FrontVariant:
        """Inverse of `to_json`."""
        return cls(**{"latency": None, **data, "form": InferenceConfig(**data["form"])})


@dataclass(frozen=True, slots=True)
class RungSummary:
    """How well the order at a rung predicted the final order: Kendall's tau, over so many candidates."""

    rung: float
    kendall_tau: float | None
    candidates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDevice:
    """Where the latencies of a front are from if another device's ledger supplied them, and what this changed.

    `measured`, `predicted` and `unknown` count finished trials by what the ledger holds of them; `entered` and `left` are
    the trials that came onto the front and went off it.
    """

    ledger: str
    device: str
    threads: int
    decoder: str
    new_tokens: int
    dtype: str
    torch: str
    transformers: str
    measured: int
    predicted: int
    unknown: int
    entered: list[int]
    left: list[int]
    picks_before: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Every candidate of a study with its state, the non-dominated among them, their hypervolume and the picks.

    `verdict` is the sentence that the search was for (`search.results.verdict`); None until the tuned full depth has finished.
    `reference_point` is in the order and with the signs of `objectives`; `hypervolume_share` is on the scale of
    `search.results.hypervolume`, and `hypervolume_above_blind` the part of it above the strongest blind baseline, None where
    there is none. `baselines` are on the validation split. `saved_share` is the share of training that stopping saved.
    `refits` (by trial) and `free` are None until they were looked up in the study's folder, `elsewhere` unless the latencies
    are another device's.
    """

    study: str
    verdict: str | None = None
    objectives: tuple[Objective, ...]
    reference_point: tuple[float, ...] | None
    hypervolume: float | None
    hypervolume_share: float | None
    hypervolume_above_blind: float | None = None
    rungs: tuple[RungSummary, ...] = ()
    saved_share: float | None = None
    baselines: dict[str, BaselineScore]
    trials: tuple[FrontEntry, ...]
    picks: dict[str, int]
    refits: dict[int, RefitScores] | None = None
    free: tuple[FrontVariant, ...] | None = None
    elsewhere: OtherDevice | None = None

    @property
    def members(self) -> list[FrontEntry]:
        """The non-dominated trials, by number."""
        return [trial for trial in self.trials if trial.pareto]

    @property
    def finished(self) -> list[FrontEntry]:
        """The trials that were trained and measured to the end, by number."""
        return [trial for trial in self.trials if trial.finished]

    @property
    def optimism(self) -> float | None:
        """By how much the members' CIDEr is above what is expected on fresh images, on average; None where nothing is known."""
        gaps = [t.metrics["cider"] - t.expected_cider.mean for t in self.members if t.expected_cider]
        return sum(gaps) / len(gaps) if gaps else None

    def picks_of(self, trial: int) -> list[str]:
        """Names of the picks that are this trial."""
        return [name for name, number in self.picks.items() if number == trial]

    def to_json(self) -> dict[str, Any]:
        """The content of `front.json`; `from_json` gives the same front back."""
        nested: dict[str, Any] = {
            "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in self.objectives],
            "rungs": [asdict(rung) for rung in self.rungs],
            "baselines": baselines_to_json(self.baselines),
            "trials": [trial.to_json() for trial in self.trials],
            "refits": self.refits and {number: scores.to_json() for number, scores in self.refits.items()},
            "free": self.free and [variant.to_json() for variant in self.free],
            "elsewhere": self.elsewhere and asdict(self.elsewhere),
        }
        return _without_none(_shallow(self) | nested, ("refits", "free", "elsewhere"))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Front:
        """Inverse of `to_json`; also reads an earlier version's."""
        nested: dict[str, Any] = {
            "baselines": baselines_from_json(data),
            "objectives": tuple(OBJECTIVES[objective["name"]] for objective in data["objectives"]),
            "rungs": tuple(RungSummary(**rung) for rung in data.get("rungs", ())),
            "trials": tuple(map(FrontEntry.from_json, data["trials"])),
        }
        if data["reference_point"] is not None:
            nested["reference_point"] = tuple(data["reference_point"])
        if "refits" in data:
            nested["refits"] = {int(number): RefitScores(**scores) for number, scores in data["refits"].items()}
        if "free" in data:
            nested["free"] = tuple(map(FrontVariant.from_json, data["free"]))
        if "elsewhere" in data:
            nested["elsewhere"] = OtherDevice(**data["elsewhere"])
        return cls(**{**without_baselines(data), **nested})


def _shallow(value: Front | FrontEntry) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _without_none(data: dict[str, Any], optional: Iterable[str]) -> dict[str, Any]:
    """The dict without those of the optional keys that hold None."""
    return {name: value for name, value in data.items() if value is not None or name not in optional}
