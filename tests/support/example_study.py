"""A small study without a search: settings, metadata and seven candidates, one for each state that a front shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rsopt.core.baseline import BaselineScore
from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant
from rsopt.latency.remeasured import RemeasuredLatency
from search.study.history import CandidateState, History
from search.study.settings import Settings, StudyMetadata
from search.study.trial_records import TrialTimes

OBJECTIVE_NAMES = ["cider", "latency_ms", "params"]
METADATA = StudyMetadata(
    tuple(OBJECTIVE_NAMES),
    {"blind_class": BaselineScore(42.5, 0.75), "people": BaselineScore(99.5, 1.0)},
    "data",
    1_700_000_000_000,
    False,
    {},
    {"missing_image": 3},
)
ENDED_MS = METADATA.started_ms + 100_000
_TUNED = Variant.full(BaseShape(4, 6, 8), LoraSpec(LoraPart(4, 8, "qk")))


def make_settings(folder: Path, **changes: object) -> Settings:
    """Settings of a study in `folder`, with an MLflow database there."""
    settings = Settings(
        name="s-1",
        space="pruning",
        base="tiny",
        data=None,
        trials=5,
        sampler="tpe",
        seed=0,
        gpus_per_trial=1,
        workers=None,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        storage=str(folder),
        latency_ledger=None,
        skip_bad=False,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def _candidate(number: int, cider: float, latency_ms: float, params: float, **changes: object) -> CandidateState:
    metrics = {"cider": cider, "latency_ms": latency_ms, "params": params}
    rungs = (Measurement(0.33, {"cider": 999.0}, {}), Measurement(1.0, metrics, {}))
    variant = replace(_TUNED, llm_layers=tuple(range(round(8 * params / 100) or 8)))
    return replace(CandidateState(number, "sampled", "complete", Candidate(variant), {}, rungs), **changes)  # type: ignore[arg-type]


HISTORY = (
    _candidate(0, 10, 50, 100, role="zero_shot"),
    _candidate(1, 80, 50, 100, role="full_depth"),
    _candidate(2, 70, 40, 80),
    _candidate(3, 60, 45, 90),  # dominated by 2
    _candidate(4, 30, 20, 40),
    _candidate(5, 0, 0, 0, state="resting", rungs=(Measurement(0.33, {"cider": 500.0}, {}),)),
    _candidate(6, 0, 0, 0, state="failed", rungs=(), reason="nan: training loss is nan"),
)
_AGAIN = {"latency_ms": 21.0, "latency_low_ms": 20.9, "latency_high_ms": 21.1, "latency_disturbed": 0.0}
REMEASURED = RemeasuredLatency(_AGAIN | {"captions_per_s": 33.25, "captions_batch": 8.0}, 20.0, True)  # of trial 4


def times_of(history: History) -> list[TrialTimes]:
    """Times of a history in which one candidate began every two seconds, and each that is finished took a second and a half."""
    starts = [METADATA.started_ms + 2000 * c.number for c in history]
    return [TrialTimes(start, start + 1500 if c.finished else None) for c, start in zip(history, starts, strict=True)]
