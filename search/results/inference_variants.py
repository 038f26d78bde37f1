"""Free points: members of a front in forms that need no training, each measured once and kept in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsopt.core.candidate import Candidate
from rsopt.core.inference import InferenceConfig
from rsopt.core.objectives import OBJECTIVES, minimised
from search.optimizer.pareto import non_dominated
from search.storage.layout import INFERENCE_VARIANTS_FOLDER


@dataclass(frozen=True, slots=True)
class Point:
    """A finished trial in a form; `reached` says which of its checkpoints."""

    trial: int
    candidate: Candidate
    reached: float
    form: InferenceConfig

    def file(self, study: Path) -> Path:
        """Where it is kept once it is measured."""
        return study / INFERENCE_VARIANTS_FOLDER / f"{self.trial:04d}-{self.form.name}.json"


def read_points(study: Path) -> list[dict[str, Any]]:
    """Every point that is measured: `trial`, `form`, `metrics` or the `fault` that it has none for."""
    files = sorted((study / INFERENCE_VARIANTS_FOLDER).glob("[0-9]*.json"))
    return [{k: v for k, v in json.loads(f.read_text()).items() if k not in ("captions", "cider")} for f in files]


def read_point(study: Path, trial: int, form: InferenceConfig) -> dict[str, Any] | None:
    """A trial's point of this form whole, with `captions` and `cider` by image; None where it was not measured."""
    path = study / INFERENCE_VARIANTS_FOLDER / f"{trial:04d}-{form.name}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return found if "metrics" in found else None


def beside(front: dict[str, Any], points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The front's free points as its table shows them: with objectives, and `pareto` among members and points together.

    Those of the unpruned model come along whether or not it is on the front: pruning must beat what costs nothing.
    """
    objectives = [OBJECTIVES[o["name"]] for o in front["objectives"]]
    members = {t["id"]: t for t in front["trials"] if t["pareto"] or t["role"] == "full_depth"}
    shown = [
        {**p, "objectives": {o.name: p["metrics"][o.name] for o in objectives if o.name in p["metrics"]}}
        for p in points
        if p["trial"] in members and "metrics" in p
    ]
    known = [(p, v) for p in shown if (v := minimised(objectives, _whole(p, members[p["trial"]]))) is not None]
    rivals = [v for t in members.values() if t["pareto"] and (v := minimised(objectives, t["metrics"])) is not None]
    flags = non_dominated([v for _, v in known] + rivals)
    for (point, _), flag in zip(known, flags, strict=False):
        point["pareto"] = bool(flag)
    return shown


def _whole(point: dict[str, Any], trial: dict[str, Any]) -> dict[str, float]:
    """A point's metrics; what its form does not change (trainable parameters, seconds of training) is its trial's."""
    return {**trial["metrics"], **point["metrics"]}


def missing(study: Path, points: Iterable[Point]) -> list[Point]:
    """Those that are not measured yet."""
    return [p for p in points if not p.file(study).exists()]
