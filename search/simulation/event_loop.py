"""Runs a search on simulated workers in simulated time, without Ray and without a clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome of a leg that infrastructure lost."""


Outcome = Measurement | Fault | Lost
# Returns how long a leg takes (simulated seconds) and its outcome, from the leg and its own random generator.
Worker = Callable[[Leg, np.random.Generator], tuple[float, Outcome]]


class AskTell(Protocol):
    """The part of a search (`search.engine.search`) that is driven."""

    def ask(self) -> Leg | None: ...
    def tell(self, leg: Leg, outcome: Measurement | Fault, /) -> None: ...
    def report_lost(self, leg: Leg, /) -> None: ...
    @property
    def done(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A leg that ran from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    leg: Leg
    outcome: Outcome


def simulate(search: AskTell, workers: int, worker: Worker, seed: int, stop_s: float = float("inf")) -> list[Finished]:
    """Runs a search to its end; returns its legs in the order in which they ended.

    Args:
        search: is asked for legs and told their outcomes.
        workers: legs that run at a time.
        worker: runs a leg.
        seed: of the workers' random generators.
        stop_s: simulated time to stop at; legs that still run then have no outcome, as when a driver dies.

    Raises:
        RuntimeError: the search returns no leg, has none in flight and is not done.
    """
    now = 0.0
    running: list[tuple[float, int, Finished]] = []
    ended: list[Finished] = []
    attempts: dict[tuple[int, float], int] = {}  # of each leg: a repeated one has a random generator of its own
    order = 0
    while True:
        while len(running) < workers and (leg := search.ask()) is not None:
            attempt = attempts[leg.number, leg.stop] = attempts.get((leg.number, leg.stop), -1) + 1
            rng = np.random.default_rng([seed, leg.number, round(leg.stop * 1e9), attempt])
            seconds, outcome = worker(leg, rng)
            # `order` decides between legs that end at the same time.
            heapq.heappush(running, (now + seconds, order, Finished(now, now + seconds, leg, outcome)))
            order += 1
        if not running:
            if not search.done:
                raise RuntimeError("the search is not done, but nothing runs and it returns no leg")
            return ended
        now, _, last = heapq.heappop(running)
        if now > stop_s:
            return ended
        ended.append(last)
        if isinstance(last.outcome, Lost):
            search.report_lost(last.leg)
        else:
            search.tell(last.leg, last.outcome)
