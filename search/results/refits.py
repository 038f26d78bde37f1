"""Refits: trials of a finished study trained again over several seeds. Their plan is separate from the journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Candidate
from rsopt.core.leg_files import read_measurement, scores_file
from search.storage.layout import REFIT_PLAN_FILE, REFITS_FOLDER

AS_TRAINED = "as-trained"  # names the scores of a refit with the weights and beams it was trained with


@dataclass(frozen=True, slots=True)
class Refit:
    """One training of a trial's candidate with a new seed. `number` names its folder among the study's refits.

    `replica` counts the seeds of a trial from 0; `fault` says why it failed, if it did. Its first leg began at `started_ms`, its
    last ended at `ended_ms`, in ms since 1970 (None before, and in studies of earlier versions).
    """

    number: int
    trial: int
    replica: int
    seed: int
    candidate: Candidate
    fault: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None

    @property
    def epochs(self) -> float:
        """Length of the whole training."""
        return self.candidate.recipe.epochs

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same refit back."""
        return {**asdict(self), "candidate": self.candidate.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Refit:
        """Inverse of `to_json`."""
        return cls(**{**data, "candidate": Candidate.from_json(data["candidate"])})


@dataclass(frozen=True, slots=True)
class RefitScores:
    """CIDEr x100 on the test split of a trial's longest refits: mean and, of two or more, standard deviation over seeds."""

    epochs: float
    seeds: int
    mean: float
    sd: float | None = None

    def __str__(self) -> str:
        """Mean and spread for people, such as `81.2 ± 0.9`."""
        return f"{self.mean:.1f}" + ("" if self.sd is None else f" ± {self.sd:.1f}")

    def to_json(self) -> dict[str, float]:
        """A plain dict, without a standard deviation that there is none of."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_plan(study: Path) -> list[Refit]:
    """Reads every refit that was ever planned in this study, by number."""
    path = study / REFITS_FOLDER / REFIT_PLAN_FILE
    return [Refit.from_json(item) for item in json.loads(path.read_text())] if path.exists() else []


def scored(study: Path, refit: Refit) -> Path | None:
    """Returns the file with the refit's scores on the test split; None while it is not finished."""
    path = scores_file(study / REFITS_FOLDER, refit.number, AS_TRAINED)
    return path if path.exists() else None


def write_plan(study: Path, plan: Sequence[Refit]) -> None:
    """Writes every planned refit."""
    write_json(study / REFITS_FOLDER / REFIT_PLAN_FILE, [r.to_json() for r in plan])


def best_refit(study: Path, trial: int) -> tuple[Refit, int] | None:
    """Returns the refit that is exported for a trial, and of how many seeds it is the best; None where none is finished.

    It is the best on the validation split among the longest trained. The test split chooses nothing.
    """
    done = [
        (final.metrics["cider"], r)
        for r in read_plan(study)
        if r.trial == trial and scored(study, r) and (final := read_measurement(study / REFITS_FOLDER, r.number, 1.0)) is not None
    ]
    longest = [(cider, r) for cider, r in done if r.epochs == max(r.epochs for _, r in done)]
    return (max(longest, key=lambda pair: (pair[0], -pair[1].replica))[1], len(longest)) if longest else None


def front_refits(study: Path) -> dict[int, RefitScores]:
    """Returns the scores of each trial's longest refits, as the front shows them."""
    finished: dict[int, list[Refit]] = {}
    for refit in read_plan(study):
        if scored(study, refit):
            finished.setdefault(refit.trial, []).append(refit)
    scores = {}
    for trial, refits in finished.items():
        epochs = max(r.epochs for r in refits)
        ciders = test_ciders(study, [r for r in refits if r.epochs == epochs])
        scores[trial] = RefitScores(epochs, len(ciders), **mean_sd(ciders.mean(axis=1)))
    return scores


def test_ciders(study: Path, refits: Sequence[Refit]) -> np.ndarray:
    """Returns CIDEr of the test images, as an array (trainings, images) of those that are finished."""
    files = [path for r in refits if (path := scored(study, r)) is not None]
    rows = [json.loads(path.read_text())["cider"] for path in files]
    return np.array([[row[i] for i in rows[0]] for row in rows]) if rows else np.zeros((0, 0))


def mean_sd(values: np.ndarray) -> dict[str, float]:
    """Returns `mean` and, of two or more values, the standard deviation `sd`."""
    mean = {"mean": float(values.mean())}
    return mean | {"sd": float(values.std(ddof=1))} if len(values) > 1 else mean
