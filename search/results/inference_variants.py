"""Inference variants: finished trials with other weights or fewer beams, which needs no training. Each has its own file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsopt.core.candidate import Candidate
from rsopt.core.inference import InferenceConfig
from search.storage.layout import INFERENCE_VARIANTS_FOLDER


@dataclass(frozen=True, slots=True)
class InferenceVariant:
    """A finished trial that is to be run as `form` says; its checkpoint is of rung `reached`."""

    trial: int
    candidate: Candidate
    reached: float
    form: InferenceConfig

    def file(self, study: Path) -> Path:
        """Returns where its measurement is stored."""
        return _file(study, self.trial, self.form)


@dataclass(frozen=True, slots=True)
class MeasuredVariant:
    """The stored measurement of an inference variant, or the `fault` because of which there is none.

    `latency` says how it was timed; `captions` and `cider` are by validation image. It was measured from `started_ms` to
    `ended_ms`, in ms since 1970 (None in studies of earlier versions).
    """

    trial: int
    form: InferenceConfig
    metrics: dict[str, float] | None = None
    latency: dict[str, Any] | None = None
    captions: dict[str, str] | None = None
    cider: dict[str, float] | None = None
    fault: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same measurement back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MeasuredVariant:
        """Inverse of `to_json`."""
        return cls(**{**data, "form": InferenceConfig(**data["form"])})


def read_variants(study: Path) -> list[MeasuredVariant]:
    """Reads every variant that was measured or failed, by trial."""
    return [_read(path) for path in sorted((study / INFERENCE_VARIANTS_FOLDER).glob("[0-9]*.json"))]


def read_variant(study: Path, trial: int, form: InferenceConfig) -> MeasuredVariant | None:
    """Reads a trial's variant; None where it was not measured or failed."""
    path = _file(study, trial, form)
    variant = _read(path) if path.exists() else None
    return variant if variant is not None and variant.metrics is not None else None


def unmeasured(study: Path, variants: Iterable[InferenceVariant]) -> list[InferenceVariant]:
    """Returns those of the variants that were neither measured nor failed."""
    return [variant for variant in variants if not variant.file(study).exists()]


def _file(study: Path, trial: int, form: InferenceConfig) -> Path:
    return study / INFERENCE_VARIANTS_FOLDER / f"{trial:04d}-{form.name}.json"


def _read(path: Path) -> MeasuredVariant:
    return MeasuredVariant.from_json(json.loads(path.read_text()))
