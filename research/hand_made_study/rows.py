"""The rows of a comparison: one for each captioner, all scored, counted and timed in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from research.hand_made_study.curves import DIVERGED, training_state
from rsopt.core.leg_files import read_captions, read_curve
from rsopt.cost.model import CostModel
from rsopt.data.formats.karpathy import load_json
from rsopt.errors import UserError
from rsopt.scores.bootstrap import Interval, paired_bootstrap
from rsopt.scores.scorer import Scorer
from search.results.front import FrontEntry
from search.results.table import latency_parts

UNTUNED, GARBAGE = "not tuned", "garbage"


@dataclass(frozen=True, slots=True)
class Row:
    """A captioner. What was not measured is absent or None, never 0. All scores are x100.

    `state` names how its training ended (converged, diverged, overfits, garbage, not tuned...), `reason` why it has no scores.
    `kept` counts its layers by part; `params` and `gmacs` (10^9 multiply-adds with 11 text tokens) are by part with a `total`.
    `latency`, in ms at the study's fixed length, has `ms`, `low`, `high` and the parts `vision`, `qformer`, `prefill` and
    `tokens`. `per_image` is CIDEr by image.
    """

    name: str
    state: str
    reason: str = ""
    kept: Mapping[str, int] = field(default_factory=dict)
    lora: str | None = None
    params: Mapping[str, int] = field(default_factory=dict)
    trainable: int | None = None
    gmacs: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    curve: Mapping[str, list[list[float]]] = field(default_factory=dict)
    train_s: float | None = None
    per_image: np.ndarray | None = None

    @property
    def share(self) -> float | None:
        """Trained parameters as a share of all parameters."""
        total = self.params.get("total")
        return None if self.trainable is None or not total else self.trainable / total

    def to_json(self) -> dict[str, Any]:
        """A plain dict, without the scores by image."""
        plain = {name: value for name, value in asdict(self).items() if name != "per_image"}
        return plain | {"share": self.share}


def trial_row(folder: Path, trial: FrontEntry, scorer: Scorer, costs: CostModel, meteor: bool) -> Row:
    """Returns the row of a study's trial, scored again from its captions so that all rows are scored alike.

    Args:
        folder: of the study.
        trial: its entry of the front.
        scorer: of the validation split.
        costs: counts of the study's base.
        meteor: whether to compute METEOR, which needs Java.
    """
    other = trial.baseline is not None  # another kind of captioner: its variant says nothing about it
    variant = trial.variant
    cost = None if other else costs.cost(variant)
    curve = read_curve(folder, trial.id) or {}
    recorded = read_captions(folder, trial.id, trial.rung) if trial.finished else None
    metrics = trial.metrics if recorded else {}
    scores = scorer.measure(recorded["captions"], with_meteor=meteor) if recorded else None
    latency = {"ms": "latency_ms", "low": "latency_low_ms", "high": "latency_high_ms"}
    lora = variant.lora
    return Row(
        name="zero-shot" if trial.role == "zero_shot" else trial.name,
        state=_state(trial, curve),
        reason=trial.reason or "",
        kept={} if other else {part: len(getattr(variant, f"{part}_layers")) for part in ("vision", "qformer", "llm")},
        lora=lora.scope if lora else None,
        params=cost.params if cost else _total(metrics, "params", int),
        trainable=(cost.trainable if lora else None) if cost else _total(metrics, "trainable", int).get("total"),
        gmacs=cost.gmacs if cost else _total(metrics, "gmacs", float),
        latency={key: metrics[name] for key, name in latency.items() if name in metrics}
        | latency_parts(metrics)
        | ({"predicted": 1.0} if metrics.get("latency_predicted") else {})
        | ({"disturbed": 1.0} if metrics.get("latency_disturbed") else {}),
        metrics=scores.corpus if scores else {},
        intervals=scores.intervals if scores else {},
        curve=curve,
        train_s=metrics.get("train_s"),
        per_image=scores.per_image["cider"] if scores else None,
    )


def fill_latencies(rows: Sequence[Row]) -> list[Row]:
    """Gives rows without a latency that of another row of the same depths: weights do not change it."""
    known = {tuple(row.kept.items()): row.latency for row in rows if row.latency}
    return [row if row.latency else replace(row, latency=known.get(tuple(row.kept.items()), {})) for row in rows]


def caption_row(name: str, path: Path, scorer: Scorer, meteor: bool) -> Row:
    """Returns the row of another system from its captions, {image id: caption} of every validation image.

    Raises UserError for a file that does not hold them.
    """
    captions = load_json(path)
    if not isinstance(captions, dict):
        raise UserError(f"--row {name}: {path} must be an object {{image id: caption}}")
    try:
        scores = scorer.measure(captions, with_meteor=meteor)
    except UserError as error:
        raise UserError(f"--row {name}: {path}: {error}") from error
    return Row(name, "as given", metrics=scores.corpus, intervals=scores.intervals, per_image=scores.per_image["cider"])


def find_row(rows: Sequence[Row], name: str) -> Row | None:
    """Returns the row of this name. On a small base one candidate may bear two names, joined by ` = `."""
    return next((row for row in rows if name in row.name.split(" = ")), None)


def cider_difference(row: Row, other: Row) -> tuple[float, float, float] | None:
    """Returns CIDEr of `row` minus that of `other`, with its 95 % interval (paired bootstrap); None where one has no captions."""
    if row.per_image is None or other.per_image is None:
        return None
    return paired_bootstrap(row.per_image, other.per_image)


def latency_ratio(row: Row, other: Row) -> tuple[float, float, float] | None:
    """Returns the latency of `row` as a share of `other`'s, and the lowest and highest share that their intervals allow."""
    if not all({"ms", "low", "high"} <= r.latency.keys() for r in (row, other)):
        return None
    a, b = row.latency, other.latency
    return a["ms"] / b["ms"], a["low"] / b["high"], a["high"] / b["low"]


def _total(metrics: Mapping[str, float], name: str, kind: Callable[[float], Any]) -> dict[str, Any]:
    """Returns a count of a captioner whose parts were not counted."""
    return {"total": kind(metrics[name])} if name in metrics else {}


def _state(trial: FrontEntry, curve: Mapping[str, list[list[float]]]) -> str:
    """Names the state of the training where it ended, else that of the trial."""
    if trial.finished:
        untuned = trial.variant.lora is None and trial.baseline is None
        return UNTUNED if untuned else (training_state(curve) if curve else "trained")
    if trial.state == "failed":
        kind = (trial.reason or "").split(":")[0]
        return {"garbage": GARBAGE, "nan": DIVERGED}.get(kind, "failed")
    return trial.state
