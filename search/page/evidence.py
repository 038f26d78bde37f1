"""What a search teaches beside its front: volume over compute, what pausing saved, how rungs predicted the end. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

from rsopt.objectives import Measurement, Objective
from search.front import hypervolume_share
from search.history import CandidateState, History, final_values, reference_point
from search.pareto import hypervolume

MARKS = ("first_step", "trained")  # moments and sums in `seconds`, not parts of a leg's time


def leg_seconds(measurement: Measurement) -> float:
    """Wall seconds that a leg kept its worker."""
    return sum(value for name, value in measurement.seconds.items() if name not in MARKS)


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
        spent += sum(map(leg_seconds, c.rungs))
        if (values := final_values(c, objectives)) is not None:
            points.append(values)
            found.append({"seconds": spent, "share": hypervolume(points, corner), "trial": c.number})
    whole = found[-1]["share"] if found else 0.0
    scale = hypervolume_share(points, corner) / whole if whole else 0.0
    return [point | {"share": point["share"] * scale} for point in found]


def pausing(history: History) -> dict[str, float] | None:
    """What stopping candidates at a rung saved: `stopped`, shares of whole trainings, and seconds; None if none was stopped.

    The rest of a stopped candidate is taken at its own pace so far.
    """
    stopped = [c for c in history if c.state == "stopped" and 0 < c.reached < 1]
    if not stopped:
        return None
    spent = sum(leg_seconds(m) for c in history for m in c.rungs)
    saved = sum(sum(map(leg_seconds, c.rungs)) * (1 - c.reached) / c.reached for c in stopped)
    return {
        "stopped": len(stopped),
        "trainings_saved": sum(1 - c.reached for c in stopped),
        "seconds_saved": saved,
        "share_saved": saved / (spent + saved) if spent + saved else 0.0,
    }


def rung_predictions(history: History) -> list[dict[str, Any]]:
    """For each rung before the last: Kendall's tau between CIDEr there and at the end, over trained and finished trials.

    `points` are (CIDEr at the rung, final CIDEr, trial). Tau is None below five trials or without any variation.
    """
    found: dict[float, list[tuple[float, float, int]]] = {}
    for c in history:
        final = c.final.metrics.get("cider") if c.final else None
        for measurement in c.rungs[:-1] if final is not None else ():
            if (early := measurement.metrics.get("cider")) is not None:
                found.setdefault(measurement.rung, []).append((early, final or 0.0, c.number))
    rows = []
    for rung, points in sorted(found.items()):
        tau = float(kendalltau([p[0] for p in points], [p[1] for p in points]).statistic) if len(points) > 4 else None
        rows.append({"rung": rung, "tau": tau if tau is not None and math.isfinite(tau) else None, "points": points})
    return rows


def curve(c: CandidateState) -> list[tuple[float, float]]:
    """(rung, CIDEr) of a candidate, ascending."""
    return [(m.rung, m.metrics["cider"]) for m in c.rungs if "cider" in m.metrics]
