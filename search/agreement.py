"""How well a study's rungs predicted the end, and what stopping saved. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import kendalltau

from search.estimates import UNCERTAIN
from search.history import History

FEWEST = 3  # candidates below which an order says nothing


@dataclass(frozen=True, slots=True)
class RungAgreement:
    """Kendall's tau between CIDEr at `rung` and at the end, over the candidates that reached both."""

    rung: float
    kendall_tau: float
    candidates: int


def rung_agreements(history: History) -> list[RungAgreement]:
    """One for each rung before the last at which enough candidates were measured that ran to the end, references left out."""
    pairs: dict[float, list[tuple[float, float]]] = {}
    for c in history:
        if c.reference or not c.rungs or c.reached < 1.0 or UNCERTAIN not in c.rungs[-1].metrics:
            continue
        for m in c.rungs[:-1]:
            if UNCERTAIN in m.metrics:
                pairs.setdefault(m.rung, []).append((m.metrics[UNCERTAIN], c.rungs[-1].metrics[UNCERTAIN]))
    found = []
    for rung, both in sorted(pairs.items()):
        if len(both) >= FEWEST:
            tau = float(kendalltau(*zip(*both, strict=True)).statistic)
            if tau == tau:  # not all alike
                found.append(RungAgreement(rung, tau, len(both)))
    return found


def saved_share(history: History) -> float | None:
    """Share of training that was not done because candidates were stopped, of that of all that were begun; None if none was."""
    begun = [c for c in history if not c.reference and c.rungs and c.state in ("complete", "stopped", "infeasible")]
    whole = sum(c.candidate.recipe.epochs for c in begun)
    done = sum(c.candidate.recipe.epochs * c.reached for c in begun)
    return 1 - done / whole if whole else None
