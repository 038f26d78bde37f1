"""Summary of refits (refits.json): mean and spread over seeds, and paired tests against neighbours and the unpruned model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsopt.core.baseline import BaselineScore, baselines_from_json
from rsopt.core.leg_files import read_measurement
from rsopt.scores.bootstrap import paired_over_seeds
from search.results.front import Front, FrontEntry
from search.results.picks import neighbours, unpruned
from search.results.refits import Refit, mean_sd, scored, test_ciders
from search.storage.layout import REFITS_FOLDER


@dataclass(frozen=True, slots=True)
class MeanSd:
    """Mean and standard deviation over seeds; `sd` is None for a single seed."""

    mean: float
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class HeldOutCider:
    """CIDEr x100 on the test split over seeds, with the 95 % interval of the mean over images and seeds."""

    mean: float
    sd: float | None
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True)
class RefitTraining:
    """One refit: CIDEr x100 on the validation and the test split, or the `fault` because of which there is none."""

    number: int
    seed: int
    fault: str | None
    val: float | None
    test: float | None


@dataclass(frozen=True, slots=True)
class RefittedTrial:
    """A trial with its refits. `search_val` is the CIDEr of the search's own training on the validation split."""

    trial: int
    name: str
    epochs: float
    search_val: float
    trainings: tuple[RefitTraining, ...]
    val: MeanSd | None
    test: HeldOutCider | None


@dataclass(frozen=True, slots=True)
class RefitComparison:
    """Difference in test CIDEr of `trial` and `other` with its 95 % interval; `apart` where the interval excludes 0."""

    trial: int
    other: int
    why: str
    difference: float
    low: float
    high: float
    apart: bool


@dataclass(frozen=True, slots=True)
class RefitSummary:
    """All refits of a session. `not_refitted` are trials that were to be compared and have no finished refit.

    `baselines` are on the split of the scores.
    """

    study: str
    split: str
    baselines: dict[str, BaselineScore]
    trials: tuple[RefittedTrial, ...]
    comparisons: tuple[RefitComparison, ...]
    not_refitted: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict, without the standard deviation of a single seed; `from_json` returns an equal value."""
        return asdict(self, dict_factory=lambda items: {k: v for k, v in items if (k, v) != ("sd", None)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RefitSummary:
        """Inverse of `to_json`."""
        trials = tuple(
            RefittedTrial(
                **{
                    **t,
                    "trainings": tuple(RefitTraining(**training) for training in t["trainings"]),
                    "val": None if t["val"] is None else MeanSd(**t["val"]),
                    "test": None if t["test"] is None else HeldOutCider(**{"sd": None, **t["test"]}),
                }
            )
            for t in data["trials"]
        )
        comparisons = tuple(RefitComparison(**c) for c in data["comparisons"])
        not_refitted = tuple(data["not_refitted"])
        return cls(data["study"], data["split"], baselines_from_json(data), trials, comparisons, not_refitted)


def refit_summary(
    front: Front, study: Path, refits: Sequence[Refit], compared: Iterable[int], baselines: dict[str, BaselineScore]
) -> RefitSummary:
    """Summarises refits and tests some trials on the test split.

    Args:
        front: The study's front.
        study: The study's folder.
        refits: The refits of a session.
        compared: Trials, each of which is compared to its neighbours on the front and to the unpruned model, as far as those
            are refitted.
        baselines: Those of the test split.
    """
    by_trial: dict[int, list[Refit]] = {}
    for refit in refits:
        by_trial.setdefault(refit.trial, []).append(refit)
    ciders = {number: test_ciders(study, of_trial) for number, of_trial in by_trial.items()}
    trials = [_trial(front.trials[number], study, of_trial, ciders[number]) for number, of_trial in by_trial.items()]
    whole, comparisons, missing = unpruned(front), list[RefitComparison](), set[int]()
    for number in dict.fromkeys(compared):
        others = {t.id: "neighbour" for t in neighbours(front, front.trials[number])}
        if whole is not None and whole.id != number:
            others.pop(whole.id, None)
            others[whole.id] = "unpruned"
        for other, why in others.items():
            if not len(ciders.get(number, ())) or not len(ciders.get(other, ())):
                missing.add(other)
                continue
            difference, low, high = paired_over_seeds(ciders[number], ciders[other])
            apart = not low <= 0 <= high
            comparisons.append(RefitComparison(number, other, why, difference, low, high, apart))
    return RefitSummary(front.study, "test", baselines, tuple(trials), tuple(comparisons), tuple(sorted(missing)))


def _trial(entry: FrontEntry, study: Path, refits: Sequence[Refit], ciders: np.ndarray) -> RefittedTrial:
    trainings = tuple(_training(study, refit) for refit in refits)
    test = None
    if len(ciders):
        mean, low, high = paired_over_seeds(ciders, np.zeros((1, ciders.shape[1])))
        test = HeldOutCider(mean, mean_sd(ciders.mean(axis=1)).get("sd"), low, high, seeds=len(ciders))
    values = [training.val for training in trainings if training.val is not None]
    val = MeanSd(**mean_sd(np.array(values))) if values else None
    return RefittedTrial(entry.id, entry.name, refits[0].epochs, entry.metrics["cider"], trainings, val, test)


def _training(study: Path, refit: Refit) -> RefitTraining:
    measurement = read_measurement(study / REFITS_FOLDER, refit.number, 1.0)
    path = scored(study, refit)
    val = measurement.metrics["cider"] if measurement else None
    test = json.loads(path.read_text())["scores"]["metrics"]["cider"] if path else None
    return RefitTraining(refit.number, refit.seed, refit.fault, val, test)
