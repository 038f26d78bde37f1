"""Runs another package's searcher over recorded candidates in simulated time, rung by rung.

It runs in the searcher's own environment, so it imports only the standard library.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping
from typing import Any

# (trial, key of the params, index of the rung, row) -> whether the trial continues
Report = Callable[[int, str, int, Mapping[str, Any]], bool]
SimulatedLeg = tuple[str, int, float]  # key of the params, index of the rung, simulated seconds at its end


def key_of(params: dict[str, Any]) -> str:
    """The table's key of these params."""
    return json.dumps(params, sort_keys=True)


def run_searcher(
    ask: Callable[[int], str], report: Report, failed: Callable[[int], None], task: Mapping[str, Any], workers: int
) -> list[SimulatedLeg]:
    """Run trials 0, 1, ... until the training budget is assigned; returns the legs in the order in which they end.

    Args:
        ask: returns the params' key of a new trial.
        report: receives the result of a rung and returns whether the trial continues.
        failed: is called for a trial that fails.
        task: `rows` (key to CIDEr, seconds and costs by rung), `rungs`, and `budget` in full trials.
        workers: that run at the same time.
    """
    rungs, rows, left = task["rungs"], task["rows"], float(task["budget"])
    shares = [b - a for a, b in zip([0.0, *rungs], rungs, strict=False)]
    running: list[tuple[float, int, int, str, int]] = []
    ended: list[SimulatedLeg] = []
    now, order, trials = 0.0, 0, 0

    def start(trial: int, key: str, at: int) -> None:
        nonlocal left, order
        left -= shares[at]
        heapq.heappush(running, (now + rows[key]["seconds"][at], order, trial, key, at))
        order += 1

    while True:
        while len(running) < workers and left > 1e-9:
            key = ask(trials)
            start(trials, key, 0)
            trials += 1
        if not running:
            return ended
        now, _, trial, key, at = heapq.heappop(running)
        ended.append((key, at, now))
        row = rows[key]
        if at >= len(row["cider"]):
            failed(trial)
        elif report(trial, key, at, row) and at + 1 < len(rungs) and left > 1e-9:
            start(trial, key, at + 1)
