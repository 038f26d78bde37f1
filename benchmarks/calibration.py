"""Compares what is expected of a front's CIDEr on fresh images with what the recorded table holds of them: its test scores.

Run from the repository root: python -m benchmarks.calibration [--seeds 20]. Writes a section of docs/searchers.md.

Searches are replayed over the table, and what is expected of the members of their fronts is compared with their test scores.
The splits differ in difficulty, so half of the searches choose by the test split and are compared with validation: the mean of
both halves does not depend on the difference. Intervals are judged after the splits' mean difference over all recorded
candidates is taken off. The table holds no scores by image: NOISE stands for them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import DOCS, measured_by, table, write_section
from search.optimizer.acquisition import AcquisitionModel
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.pareto import non_dominated
from search.results.expected_cider import LEAST, Z, expected, predicted_without
from search.simulation.event_loop import simulate
from search.simulation.recording import Recording, load_recording
from search.simulation.replay import BudgetedSearch, Disturbances, Setup, open_search, worker_of
from search.study.history import CandidateState, History, final_values

Array = NDArray[np.float64]
BUDGETS = (10.0, 20.0, 40.0)  # full trials
# Standard deviation by a candidate's own images over the root of its CIDEr: 0.86 in a default study (tiny, generated data).
NOISE = 0.86
Estimate = tuple[Array, Array]  # mean and half the width of the 95 % interval, by member


def main() -> int:
    """Replay, compare, print and write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--table", default="tiny-mini", help="recorded table (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=20, help="searches of each direction (default: %(default)s)")
    p.add_argument("--out", type=Path, default=DOCS / "searchers.md", help="Markdown file to write (default: docs/searchers.md)")
    options = p.parse_args()
    text = report([compare(load_recording(options.table), budget, options.seeds) for budget in BUDGETS])
    print(text)
    facts = [
        measured_by(f"python -m benchmarks.calibration --seeds {options.seeds}"),
        f"known_cost, 1 worker, {options.seeds} seeds of each direction (front by validation, front by test)",
        "cells: mean of expected minus fresh CIDEr over the front's members (by direction); share of fresh scores in the 95 % "
        "intervals",
    ]
    write_section(f"CIDEr expected on fresh images, on {options.table}", facts, text, options.out)
    return 0


def report(comparisons: Sequence[dict[str, list[Array]]]) -> str:
    """A Markdown table with a row a method and a column a budget."""
    rows = []
    for method in comparisons[0]:
        cells = []
        for comparison in comparisons:
            halves = comparison[method]
            means = [half[0].mean() for half in halves]
            within = np.mean([half[1].mean() for half in halves])
            cells.append(f"{np.mean(means):+.1f} ({', '.join(f'{m:+.1f}' for m in means)}); {within:.0%}")
        rows.append([method, *cells])
    return table(["", *(f"after {budget:g}" for budget in BUDGETS)], rows) + "\n"


def compare(recording: Recording, budget: float, seeds: int) -> dict[str, list[Array]]:
    """Returns by method and direction the differences (row 0) of all members, and whether they lie in their intervals (row 1)."""
    found: dict[str, list[Array]] = {}
    for one in (recording, exchanged(recording)):
        differences = defaultdict(list)
        for seed in range(seeds):
            for method, pairs in _differences(one, history_after(one, budget, seed)):
                differences[method].append(pairs)
        for method, parts in differences.items():
            found.setdefault(method, []).append(np.hstack(parts))
    return found


def exchanged(recording: Recording) -> Recording:
    """The table with validation and test scores at the end exchanged."""
    rows = [
        row
        if row.fault or row.test_cider is None
        else replace(row, cider=(*row.cider[:-1], row.test_cider), test_cider=row.cider[-1])
        for row in recording.rows
    ]
    return Recording(recording.space, recording.metadata, rows)


def history_after(recording: Recording, budget: float, seed: int) -> History:
    """The candidates of a replayed search after so many full trials."""
    setup = Setup("known_cost", "promote", 1, budget)
    with tempfile.TemporaryDirectory() as folder:
        search = open_search(recording, setup, seed, Path(folder) / "study")
        budgeted = BudgetedSearch(search, recording.samples, budget * recording.full_trial)
        simulate(budgeted, setup.workers, worker_of(recording, Disturbances()), seed)
        search.close()
        return search.snapshot(live=False)


def _differences(recording: Recording, history: History) -> Iterator[tuple[str, Array]]:
    """Yields for each method the differences of the front's members and whether they lie in their intervals (2, members)."""
    predicted = predicted_without(history, recording.bound.distributions)
    finished = [c for c in history if c.number in predicted and final_values(c, recording.objectives) is not None]
    if len(finished) < LEAST:
        return
    points = [final_values(c, recording.objectives) for c in finished]
    members = np.flatnonzero(non_dominated([point for point in points if point is not None]))
    fresh = np.array([recording.row(c.candidate).test_cider for c in finished])
    scored = [(r.cider[-1], r.test_cider) for r in recording.rows if r.params and not r.fault and r.test_cider is not None]
    offset = float(np.mean([own - other for own, other in scored]))
    for method, (mean, half) in _estimates(recording, history, finished, [predicted[c.number] for c in finished]).items():
        difference = mean - fresh - offset
        yield method, np.array([difference, np.abs(difference) <= half])[:, members]


def _estimates(
    recording: Recording, history: History, finished: Sequence[CandidateState], predicted: Sequence[float]
) -> dict[str, Estimate]:
    """What each method expects of the candidates that were trained to the end."""
    ciders = np.array([c.final.metrics["cider"] for c in finished if c.final])
    noise = NOISE * np.sqrt(ciders)
    model = AcquisitionModel(recording.bound, CostEstimator(recording.objectives, recording.costs))
    acquisition = model.fit(history)
    assert acquisition is not None
    mean, sd = acquisition.posterior.predict(np.array([model.row(c) for c in finished]))
    layers = np.array([[1, len(c.candidate.variant.llm_layers), len(c.candidate.variant.qformer_layers)] for c in finished])
    by_depth = layers @ np.linalg.lstsq(layers, ciders, rcond=None)[0]
    return {
        "score": (ciders, Z * np.sqrt(2) * noise),
        "posterior mean": (mean, Z * sd),
        "score, shrunk to the mean": _shrunk(ciders, np.full(len(ciders), ciders.mean()), noise),
        "score, shrunk to its depth's": _shrunk(ciders, by_depth, noise),
        "score, shrunk to the model's (shown)": _shrunk(ciders, predicted, noise),
    }


def _shrunk(ciders: Array, predicted: Sequence[float] | Array, noise: Array) -> Estimate:
    found = expected(list(ciders), list(predicted), noise)
    return np.array([e.mean for e in found]), np.array([(e.high - e.low) / 2 for e in found])


if __name__ == "__main__":
    sys.exit(main())
