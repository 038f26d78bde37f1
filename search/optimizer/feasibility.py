"""Checks candidates against limits before they run, by costs that are exact or predicted."""

from __future__ import annotations

import math
from collections.abc import Callable

from rsopt.core.candidate import Candidate
from search.optimizer.cost_estimator import CostEstimator
from search.study.limits import Limits, breach

LimitCheck = Callable[[Candidate], str | None]  # the reason why a candidate breaks a limit, None if it does not
# Error of a latency that is only scaled by compute: a candidate is refused only if it is too slow even 30 % below its estimate.
SCALING_ERROR = 0.3


def limit_check(limits: Limits, estimator: CostEstimator) -> LimitCheck | None:
    """Returns a check of predicted costs against the limits; None if there are no limits."""
    bounds = limits.bounds()
    if not bounds:
        return None

    def broken_limit(candidate: Candidate) -> str | None:
        for name, bound in bounds:
            value, error = estimator.estimate(name, candidate)
            if math.isnan(error):
                value = value * (1 - SCALING_ERROR) if estimator.has_measured(name) else 0.0
            if value > bound:
                return breach(name, value, bound, "predicted " if name != "params" else "")
        return None

    return broken_limit
