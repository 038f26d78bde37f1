"""How well a study's rungs predicted the final CIDEr, and what stopping saved. Reference points do not count. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import kendalltau

from search.optimizer.cost_estimator import MODELLED_OBJECTIVE
from search.study.history import History, leg_seconds

FEWEST = 5  # candidates; the order of fewer says nothing


@dataclass(frozen=True, slots=True)
class RungAgreement:
    """CIDEr at a rung against final CIDEr: `points` are (at the rung, final, trial) of the candidates that reached both.

    `kendall_tau` is None for fewer than FEWEST points and where all are equal.
    """

    rung: float
    kendall_tau: float | None
    points: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What stopping candidates at a rung saved: whole trainings, their share of all that began, and seconds at their speed."""

    stopped: int
    trainings: float
    share: float
    seconds: float


def rung_agreements(history: History) -> list[RungAgreement]:
    """Returns one for each rung before the last, ascending, over the candidates that ran to the end."""
    points: dict[float, list[tuple[float, float, int]]] = {}
    for c in history:
        end = c.rungs[-1].metrics.get(MODELLED_OBJECTIVE) if c.rungs and c.reached >= 1.0 and not c.reference else None
        for m in c.rungs[:-1] if end is not None else ():
            if MODELLED_OBJECTIVE in m.metrics:
                points.setdefault(m.rung, []).append((m.metrics[MODELLED_OBJECTIVE], end or 0.0, c.number))
    return [RungAgreement(rung, _tau(pairs), tuple(pairs)) for rung, pairs in sorted(points.items())]


def saved(history: History) -> Saved | None:
    """Returns what stopping saved; None where nothing was stopped. Trainings count by their epochs."""
    begun = [c for c in history if not c.reference and c.rungs and c.state in ("complete", "stopped", "infeasible")]
    stopped = [c for c in begun if c.state == "stopped"]
    if not stopped:
        return None
    left = sum(c.candidate.recipe.epochs * (1 - c.reached) for c in stopped)
    spent = {c.number: sum(leg_seconds(m.seconds) for m in c.rungs) for c in stopped}
    return Saved(
        len(stopped),
        sum(1 - c.reached for c in stopped),
        left / sum(c.candidate.recipe.epochs for c in begun),
        sum(spent[c.number] * (1 - c.reached) / c.reached for c in stopped),
    )


def _tau(points: list[tuple[float, float, int]]) -> float | None:
    if len(points) < FEWEST:
        return None
    tau = float(kendalltau([p[0] for p in points], [p[1] for p in points]).statistic)
    return tau if math.isfinite(tau) else None
