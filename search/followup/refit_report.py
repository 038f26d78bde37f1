"""What refits found: mean and spread over seeds, and paired tests against neighbours and the unpruned model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rsopt.core.leg_files import read_measurement
from rsopt.scores.bootstrap import paired_over_seeds
from search.results.front import Front, FrontEntry
from search.results.picks import neighbours, unpruned
from search.results.refits import Refit, mean_sd, scored, test_ciders
from search.results.table import stdout_console
from search.storage.layout import REFITS_FOLDER


def refit_summary(front: Front, study: Path, refits: Sequence[Refit], tested_for: Iterable[int]) -> dict[str, Any]:
    """As a JSON object: `trials` with their trainings, and `comparisons` of those in `tested_for` on the test split.

    CIDEr x100. Each trial is compared to its neighbours on the front and to the unpruned model, as far as these are
    among `refits`; `apart` where the 95 % interval over images and seeds does not hold 0.
    """
    by_trial: dict[int, list[Refit]] = {}
    for refit in refits:
        by_trial.setdefault(refit.trial, []).append(refit)
    images = {number: test_ciders(study, own) for number, own in by_trial.items()}
    trials = [_trial(front.trials[number], study, own, images[number]) for number, own in by_trial.items()]
    comparisons, missing = [], list[int]()
    for number in dict.fromkeys(tested_for):
        whole = unpruned(front)
        others = [(t, "neighbour") for t in neighbours(front, front.trials[number])]
        if whole is not None and whole.id != number:
            others = [(t, why) for t, why in others if t.id != whole.id] + [(whole, "unpruned")]
        for other, why in others:
            if not len(images.get(number, ())) or not len(images.get(other.id, ())):
                missing.append(other.id)
                continue
            difference, low, high = paired_over_seeds(images[number], images[other.id])
            comparisons.append(
                {
                    "trial": number,
                    "other": other.id,
                    "why": why,
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "apart": not low <= 0 <= high,
                }
            )
    return {
        "study": front.study,
        "split": "test",
        "trials": trials,
        "comparisons": comparisons,
        "not_refitted": sorted(set(missing)),
    }


def print_refits(summary: dict[str, Any], console: Console | None = None) -> None:
    """The summary as two tables."""
    console = console or stdout_console()
    table = Table(title=f"Refits of {summary['study']}", title_justify="left")
    for name in (
        "trial",
        "variant",
        "epochs",
        "seeds",
        "test CIDEr",
        "sd",
        "95 % interval",
        "each",
        "val",
        "in the search, val",
    ):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for t in summary["trials"]:
        test, val = t["test"], t["val"]
        if test is None:
            reasons = "; ".join(sorted({r["fault"] for r in t["trainings"] if r["fault"]})) or "not finished"
            table.add_row(str(t["trial"]), t["name"], f"{t['epochs']:g}", "0", "-", "-", "-", reasons, "-", "-")
            continue
        each = " ".join(f"{r['test']:.1f}" for r in t["trainings"] if r["test"] is not None)
        table.add_row(
            str(t["trial"]),
            t["name"],
            f"{t['epochs']:g}",
            str(test["seeds"]),
            f"{test['mean']:.1f}",
            _spread(test),
            f"{test['low']:.1f} to {test['high']:.1f}",
            each,
            f"{val['mean']:.1f}",
            f"{t['search_val']:.1f}",
        )
    console.print(table)
    for c in summary["comparisons"]:
        verdict = "can be told apart" if c["apart"] else "cannot be told apart"
        console.print(
            f"trial {c['trial']} against trial {c['other']} ({c['why']}): {c['difference']:+.1f} "
            f"({c['low']:+.1f} to {c['high']:+.1f}), {verdict}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if summary["not_refitted"]:
        names = ", ".join(map(str, summary["not_refitted"]))
        console.print(f"not refitted, so not compared: trial {names}", markup=False, highlight=False, soft_wrap=True)


def _trial(entry: FrontEntry, study: Path, refits: Sequence[Refit], ciders: np.ndarray) -> dict[str, Any]:
    trainings = []
    for r in refits:
        measurement = read_measurement(study / REFITS_FOLDER, r.number, 1.0)
        path = scored(study, r)
        trainings.append(
            {
                "number": r.number,
                "seed": r.seed,
                "fault": r.fault,
                "val": measurement.metrics["cider"] if measurement else None,
                "test": json.loads(path.read_text())["scores"]["metrics"]["cider"] if path else None,
            }
        )
    test = None
    if len(ciders):
        mean, low, high = paired_over_seeds(ciders, np.zeros((1, ciders.shape[1])))
        test = {**mean_sd(ciders.mean(axis=1)), "mean": mean, "low": low, "high": high, "seeds": len(ciders)}
    vals = [t["val"] for t in trainings if t["val"] is not None]
    return {
        "trial": entry.id,
        "name": entry.name,
        "epochs": refits[0].epochs,
        "search_val": entry.metrics["cider"],
        "trainings": trainings,
        "val": mean_sd(np.array(vals)) if vals else None,
        "test": test,
    }


def _spread(test: dict[str, float]) -> str:
    return f"{test['sd']:.1f}" if "sd" in test else "-"
