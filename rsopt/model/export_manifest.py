"""The manifest of an exported folder: the model, the search it is from, and its measurements. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rsopt.core.baseline import BaselineScore, baselines_from_json, without_baselines
from rsopt.core.inference import Weights
from rsopt.core.recipe import Recipe
from rsopt.core.variant import Variant
from rsopt.errors import UserError

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ExportedData:
    """The data set that the model was tuned on."""

    name: str
    format: str
    validation_images: int


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """The search that found the model. `trials` counts its candidates, `finished` those trained to the end.

    `verdict` sets the exported trial, as the search measured it, beside LoRA at full depth; None where that never finished.
    """

    space: str
    sampler: str
    seed: int
    trials: int
    finished: int
    objectives: tuple[str, ...]
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class RefitSource:
    """The refit that the weights are from: the best on validation of `seeds`. `searched_cider`: the search's own, x100."""

    number: int
    seed: int
    epochs: float
    seeds: int
    searched_cider: float


@dataclass(frozen=True, slots=True)
class CaptionProtocol:
    """How captions were generated and scored."""

    beams: int
    max_new_tokens: int
    tokenizer: str


@dataclass(frozen=True, slots=True)
class LatencySource:
    """How the model's latency was measured. `record` is the ledger's complete record of it, where it has one."""

    runs: int
    new_tokens: int
    beams: int
    device: str
    decoder: str
    dtype: str
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` returns an equal value."""
        named = asdict(self)
        return {**named.pop("record"), **named}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencySource:
        """Inverse of `to_json`."""
        named = ("runs", "new_tokens", "beams", "device", "decoder", "dtype")
        return cls(**{name: data[name] for name in named}, record=data if len(data) > len(named) else {})


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Scores on the test split, x100; `intervals` are 95 % over images, `baselines` are those of the test split."""

    images: int
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    baselines: dict[str, BaselineScore]
    dtype: Weights
    beams: int
    device: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HeldOutScores:
        """Read a stored plain dict, also an earlier version's."""
        return cls(**{**without_baselines(data), "baselines": baselines_from_json(data)})


@dataclass(frozen=True, slots=True)
class ReloadCheck:
    """Number of validation images captioned by the reloaded folder, and of captions equal to those in the study."""

    images: int
    same_as_study: int


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """The content of `manifest.json` in an exported folder. Scores are x100, `size_mb` is of the weights.

    `pick` is the name by which the trial was chosen, None for a number. `depths` are layers of the base by component;
    `validation` are metrics, `baselines` those beside them, and `captions` captions by image id of the validation split.
    """

    study: str
    trial: int
    name: str
    pick: str | None
    adapter_only: bool
    base: str
    data: ExportedData
    found: SearchSummary
    refit: RefitSource | None
    variant: Variant
    recipe: Recipe
    depths: dict[str, int]
    dtype: Weights
    params: int
    size_mb: float
    protocol: CaptionProtocol
    validation: Mapping[str, float]
    baselines: Mapping[str, BaselineScore]
    latency: LatencySource | None
    test: HeldOutScores
    check: ReloadCheck
    captions: dict[str, str]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` returns an equal value."""
        return {**asdict(self), "latency": None if self.latency is None else self.latency.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExportManifest:
        """Inverse of `to_json`."""
        parts = {
            "data": ExportedData(**data["data"]),
            "found": SearchSummary(**{**data["found"], "objectives": tuple(data["found"]["objectives"])}),
            "refit": None if data["refit"] is None else RefitSource(**data["refit"]),
            "variant": Variant.from_json(data["variant"]),
            "recipe": Recipe(**data["recipe"]),
            "protocol": CaptionProtocol(**data["protocol"]),
            "latency": None if data["latency"] is None else LatencySource.from_json(data["latency"]),
            "test": HeldOutScores.from_json(data["test"]),
            "check": ReloadCheck(**data["check"]),
        }
        return cls(**{**without_baselines(data), "baselines": baselines_from_json(data), **parts})

    def write(self, folder: Path) -> None:
        """Writes it into an exported folder."""
        (folder / MANIFEST).write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> ExportManifest:
        """Reads it from an exported folder. Raises UserError if there is none."""
        path = folder / MANIFEST
        if not path.is_file():
            raise UserError(f"folder '{folder}' is not an export: it has no {MANIFEST}")
        return cls.from_json(json.loads(path.read_text()))
