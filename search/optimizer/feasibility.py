"""Which candidates break a limit before they run, by costs that are exact or predicted."""

from __future__ import annotations

import math
from collections.abc import Callable

from rsopt.core.candidate import Candidate
from search.optimizer.cost_estimator import CostEstimator
from search.study.limits import Limits, breach

# A latency that is only proportional to compute may be this far off; it refuses what even then is too slow.
CRUDE = 0.3


def limit_check(limits: Limits, estimates: CostEstimator) -> Callable[[Candidate], str | None] | None:
    """A function that gives the reason why a candidate breaks a limit, None where it does not. None without limits."""
    bounds = limits.bounds()
    if not bounds:
        return None

    def broken_limit(candidate: Candidate) -> str | None:
        for name, bound in bounds:
            value, error = estimates.figure(name, candidate)
            if math.isnan(error):
                value = value * (1 - CRUDE) if estimates.measured_any(name) else 0.0
            if value > bound:
                return breach(name, value, bound, "predicted " if name != "params" else "")
        return None

    return broken_limit
