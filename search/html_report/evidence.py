"""What the page shows besides the front: volume over compute, CIDEr by rung, refits and inference variants. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rsopt.core.objectives import Objective
from search.results.hypervolume import HypervolumeScale
from search.results.inference_variants import MeasuredVariant
from search.results.refits import RefitScores
from search.results.table import COLUMNS
from search.study.history import CandidateState, History, final_values, leg_seconds


def volume_over_compute(history: History, objectives: Sequence[Objective], ended: Mapping[int, float]) -> list[dict[str, float]]:
    """Returns hypervolume against worker seconds, one point for each finished trial: `seconds`, `share` and `trial`.

    `share` is on the front's scale. `ended` gives each trial's time by any clock; trials without one come last, by number. All
    legs of a trial count when it ends. Empty without the full-depth base, whose values fix the scale.
    """
    if (scale := HypervolumeScale.of(history, objectives)) is None:
        return []
    spent, points, curve = 0.0, list[tuple[float, ...]](), list[dict[str, float]]()
    for c in sorted(history, key=lambda c: (ended.get(c.number, math.inf), c.number)):
        spent += sum(leg_seconds(m.seconds) for m in c.rungs)
        if (values := final_values(c, objectives)) is not None:
            points.append(values)
            curve.append({"seconds": spent, "share": scale.share(points), "trial": c.number})
    return curve


def cider_by_rung(c: CandidateState) -> list[tuple[float, float]]:
    """Returns (rung, CIDEr) of a candidate, ascending."""
    return [(m.rung, m.metrics["cider"]) for m in c.rungs if "cider" in m.metrics]


VARIANT_METRICS = ("cider", "latency_ms", "size_mb")


def followup_lines(number: int, scores: RefitScores | None, variants: Sequence[MeasuredVariant]) -> list[str]:
    """Returns a line for the refits of a trial and one for each of its inference variants, as far as there are any."""
    lines = []
    if scores is not None:
        lines.append(f"trained again, {scores.seeds} seeds, {scores.epochs:g} epochs: test CIDEr {scores}")
    for variant in variants:
        if variant.trial == number and (metrics := variant.metrics) is not None:
            names = [n for n in VARIANT_METRICS if n in metrics]
            text = ", ".join(f"{COLUMNS[n][0]} {COLUMNS[n][1].format(metrics[n])}" for n in names)
            beams = variant.form.beams
            lines.append(f"{variant.form.weights}, {beams} beam{'s' * (beams > 1)}: {text}")
    return lines
