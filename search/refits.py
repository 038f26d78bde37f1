"""Refits: picks of a finished study trained again over several seeds, beside its journal, which never hears of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Candidate
from rsopt.core.leg_files import scores_file

FOLDER, PLAN = "refits", "plan.json"
AS_TRAINED = "as-trained"  # the form of the scores that refits are compared by


@dataclass(frozen=True, slots=True)
class Refit:
    """One training of `trial`'s candidate with a seed of its own; `number` names its folder among the study's refits.

    `replica` counts the seeds of a trial from 0, `epochs` is the full length, `fault` why it failed, if it did.
    """

    number: int
    trial: int
    replica: int
    seed: int
    candidate: Candidate
    fault: str | None = None

    @property
    def epochs(self) -> float:
        """Length of the training."""
        return self.candidate.recipe.epochs

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {**asdict(self), "candidate": self.candidate.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Refit:
        """Inverse of `to_json`."""
        return cls(**{**data, "candidate": Candidate.from_json(data["candidate"])})


def read_plan(study: Path) -> list[Refit]:
    """Every refit that was ever asked for in this study, by number."""
    path = study / FOLDER / PLAN
    return [Refit.from_json(item) for item in json.loads(path.read_text())] if path.exists() else []


def scored(study: Path, refit: Refit) -> Path | None:
    """The refit's scores on the test split in the form it was trained in; None while it is not finished."""
    path = scores_file(study / FOLDER, refit.number, AS_TRAINED)
    return path if path.exists() else None


def _write_plan(study: Path, plan: Sequence[Refit]) -> None:
    write_json(study / FOLDER / PLAN, [r.to_json() for r in plan])
