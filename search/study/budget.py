"""Budget of a search in hours of wall clock or of workers, and whether a leg still fits into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from rsopt.core.objectives import Measurement
from search.study.history import CandidateState, History, leg_seconds


class Budget:
    """`hours` of this session's wall clock, `worker_hours` of all workers over the whole study; None is no bound.

    A leg fits if the median time of similar legs fits into what is left, so that the bound is kept rather than exceeded by the
    last leg.
    """

    def __init__(
        self, hours: float | None = None, worker_hours: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._begun = clock, clock()
        self._hours, self._worker_hours = hours, worker_hours

    def fits(self, history: History, stops: Sequence[float], start: float) -> bool:
        """Whether the legs from `start` to each of `stops` fit, one after the other, besides those in flight."""
        if self._hours is None and self._worker_hours is None:
            return True
        starts = [start, *stops]
        expected = sum(expected_seconds(history, a, b) for a, b in zip(starts, stops, strict=False))
        if self._hours is not None and expected > self._session_left(self._hours):
            return False
        if self._worker_hours is None:
            return True
        seconds = [leg_seconds(m.seconds) for c in history for m in c.rungs]
        in_flight = sum(c.in_flight for c in history) * (median(seconds) if seconds else 0.0)
        return spent_seconds(history) + in_flight + expected <= self._worker_hours * 3600

    def left_s(self, history: History, workers: int) -> float | None:
        """Returns the seconds until a bound is reached with so many busy workers; None without a bound."""
        bounds = []
        if self._hours is not None:
            bounds.append(self._session_left(self._hours))
        if self._worker_hours is not None:
            bounds.append((self._worker_hours * 3600 - spent_seconds(history)) / workers)
        return max(0.0, min(bounds)) if bounds else None

    def _session_left(self, hours: float) -> float:
        return hours * 3600 - (self._clock() - self._begun)


def spent_seconds(history: History) -> float:
    """Returns the worker seconds that a study's legs took."""
    return sum(leg_seconds(m.seconds) for c in history for m in c.rungs)


def expected_seconds(history: History, start: float, stop: float) -> float:
    """Returns the median time of legs between these rungs, else a share of the median rate of all; 0 before any was measured."""
    legs = [(a, m.rung, leg_seconds(m.seconds)) for c in history if not c.reference for a, m in _legs(c)]
    legs = legs or [(a, m.rung, leg_seconds(m.seconds)) for c in history for a, m in _legs(c)]
    same = [seconds for a, b, seconds in legs if (a, b) == (start, stop)]
    if same:
        return median(same)
    return median(seconds / (b - a) for a, b, seconds in legs) * (stop - start) if legs else 0.0


def _legs(c: CandidateState) -> list[tuple[float, Measurement]]:
    """Returns the rung that each measured leg of a candidate started from, and its measurement."""
    starts = [0.0, *(m.rung for m in c.rungs)]
    return list(zip(starts, c.rungs, strict=False))
