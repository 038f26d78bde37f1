"""What a search teaches beside its front: volume over compute, and which members cannot be told apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rsopt.core.objectives import Objective
from search.optimizer.pareto import hypervolume
from search.results.front import hypervolume_share
from search.results.table import COLUMNS
from search.study.history import CandidateState, History, final_values, leg_seconds, reference_point


def volume_over_compute(
    history: History, objectives: Sequence[Objective], ended: Mapping[int, float]
) -> list[dict[str, float]]:
    """Hypervolume against worker seconds spent, a point for each trial that finished: `seconds`, `share`, `trial`.

    `share` is of one box throughout, between the reference point and the best values at the end: it never falls. `ended`
    gives each trial's time (any clock); without it, numbers decide. A trial's legs are all counted when it ends. Empty
    without the full-depth base, whose values fix the reference point.
    """
    if (corner := reference_point(history, objectives)) is None:
        return []
    spent, points, found = 0.0, list[tuple[float, ...]](), list[dict[str, float]]()
    for c in sorted(history, key=lambda c: (ended.get(c.number, math.inf), c.number)):
        spent += sum(leg_seconds(m.seconds) for m in c.rungs)
        if (values := final_values(c, objectives)) is not None:
            points.append(values)
            found.append({"seconds": spent, "share": hypervolume(points, corner), "trial": c.number})
    whole = found[-1]["share"] if found else 0.0
    scale = hypervolume_share(points, corner) / whole if whole else 0.0
    return [point | {"share": point["share"] * scale} for point in found]


def curve(c: CandidateState) -> list[tuple[float, float]]:
    """(rung, CIDEr) of a candidate, ascending."""
    return [(m.rung, m.metrics["cider"]) for m in c.rungs if "cider" in m.metrics]


SHOWN = ("cider", "latency_ms", "size_mb")


def lines_beside(
    number: int, refits: Mapping[int, Mapping[str, float]], points: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A line for the refits of a trial and one for each of its forms; none where nothing was asked for."""
    lines = []
    if (found := refits.get(number)) is not None:
        spread = f" ± {found['sd']:.1f}" if "sd" in found else ""
        lines.append(
            f"trained again, {found['seeds']} seeds, {found['epochs']:g} epochs: test CIDEr {found['mean']:.1f}{spread}"
        )
    for point in points:
        if point["trial"] == number and "metrics" in point:
            form, metrics = point["form"], point["metrics"]
            told = ", ".join(f"{COLUMNS[n][0]} {COLUMNS[n][1].format(metrics[n])}" for n in SHOWN if n in metrics)
            lines.append(f"{form['weights']}, {form['beams']} beam{'s' * (form['beams'] > 1)}: {told}")
    return lines
