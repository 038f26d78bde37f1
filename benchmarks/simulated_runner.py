"""A simulated runner for searchers that are not ours: trials in simulated time, rung by rung. The standard library alone.

It runs in the environment of whatever searcher is driven, so it imports nothing of this project.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping
from typing import Any

# (trial, params' key, index of the rung, row) -> whether the trial goes on
Report = Callable[[int, str, int, Mapping[str, Any]], bool]


def key_of(params: dict[str, Any]) -> str:
    """Params as the table's key."""
    return json.dumps(params, sort_keys=True)


def drive(
    ask: Callable[[int], str],
    report: Report,
    failed: Callable[[int], None],
    task: Mapping[str, Any],
    workers: int,
) -> list[tuple[str, int, float]]:
    """Ask for params of trial 0, 1, ... and report them rung by rung, until the budget of training is handed out.

    `task` holds `rows` (key -> cider, seconds and costs by rung), `rungs` and `budget` (full trials). Returns (key, index of
    the rung, simulated seconds at its end) of every leg that ended, in that order.
    """
    rungs, rows, left = task["rungs"], task["rows"], float(task["budget"])
    shares = [b - a for a, b in zip([0.0, *rungs], rungs, strict=False)]
    running: list[tuple[float, int, int, str, int]] = []
    ended: list[tuple[str, int, float]] = []
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
