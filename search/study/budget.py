"""Budget: hours of wall clock or of workers, and whether a leg still fits. What was spent stands in the history."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from rsopt.core.objectives import Measurement
from search.study.history import CandidateState, History, leg_seconds


class Budget:
    """`hours` of this session's wall clock, `worker_hours` of the whole study, over all its workers; None is no bound.

    A leg fits when what legs like it took fits into what is left: so the bound is kept, not met by the last leg's grace.
    """

    def __init__(
        self,
        hours: float | None = None,
        worker_hours: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._begun = clock, clock()
        self._hours, self._worker_hours = hours, worker_hours

    @property
    def bounded(self) -> bool:
        """Whether there is any bound."""
        return self._hours is not None or self._worker_hours is not None

    def fits(self, history: History, stops: Sequence[float], start: float) -> bool:
        """Whether the legs from `start` to each of `stops` fit, one after the other, beside what is in flight."""
        if not self.bounded:
            return True
        expected, at = 0.0, start
        for stop in stops:
            expected += expected_seconds(history, at, stop)
            at = stop
        if self._hours is not None and expected > self._hours * 3600 - (self._clock() - self._begun):
            return False
        if self._worker_hours is None:
            return True
        flying = [c for c in history if c.in_flight]
        spent = spent_seconds(history) + sum(_typical(history) for _ in flying)
        return spent + expected <= self._worker_hours * 3600

    def left_s(self, history: History, workers: int) -> float | None:
        """Seconds until a bound is met with so many workers busy; None without one."""
        found = []
        if self._hours is not None:
            found.append(self._hours * 3600 - (self._clock() - self._begun))
        if self._worker_hours is not None:
            found.append((self._worker_hours * 3600 - spent_seconds(history)) / workers)
        return max(0.0, min(found)) if found else None


def spent_seconds(history: History) -> float:
    """Worker seconds behind a study, as recorded by its legs."""
    return sum(leg_seconds(m.seconds) for c in history for m in c.rungs)


def expected_seconds(history: History, start: float, stop: float) -> float:
    """Median of legs over the same stretch; else by share from all legs; 0 before any was measured."""
    legs = [(a, m.rung, leg_seconds(m.seconds)) for c in history if not c.reference for a, m in _stretches(c)]
    legs = legs or [(a, m.rung, leg_seconds(m.seconds)) for c in history for a, m in _stretches(c)]
    same = [seconds for a, b, seconds in legs if (a, b) == (start, stop)]
    if same:
        return median(same)
    return median(seconds / (b - a) for a, b, seconds in legs) * (stop - start) if legs else 0.0


def _typical(history: History) -> float:
    legs = [leg_seconds(m.seconds) for c in history for m in c.rungs]
    return median(legs) if legs else 0.0


def _stretches(c: CandidateState) -> list[tuple[float, Measurement]]:
    starts = [0.0, *(m.rung for m in c.rungs)]
    return list(zip(starts, c.rungs, strict=False))
