"""A simulated runner over next, tell and lost: workers in simulated time, no Ray, no clock."""

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
    """Infrastructure lost the leg."""


Outcome = Measurement | Fault | Lost
# What a leg takes (simulated seconds) and gives, from the leg and its own generator alone.
Run = Callable[[Leg, np.random.Generator], tuple[float, Outcome]]


class Runs(Protocol):
    """The seam to the search (see `search.study.Search`)."""

    def ask(self) -> Leg | None: ...
    def tell(self, leg: Leg, outcome: Measurement | Fault, /) -> None: ...
    def report_lost(self, leg: Leg, /) -> None: ...
    @property
    def done(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A leg that ended at `end_s` after running since `start_s`."""

    start_s: float
    end_s: float
    leg: Leg
    outcome: Outcome


def simulate(search: Runs, workers: int, run: Run, seed: int, stop_s: float = float("inf")) -> list[Finished]:
    """Run a search to its end, or until simulated time `stop_s`, on so many workers; its legs in the order in which they ended.

    What still runs at `stop_s` is neither told nor lost, as when a driver dies. Raises RuntimeError if the search hands out
    nothing, has nothing in flight and is not done.
    """
    now = 0.0
    running: list[tuple[float, int, Finished]] = []
    ended: list[Finished] = []
    handed: dict[tuple[int, float], int] = {}  # attempts of a leg: a repeated one has luck of its own
    order = 0
    while True:
        while len(running) < workers and (leg := search.ask()) is not None:
            attempt = handed[leg.number, leg.stop] = handed.get((leg.number, leg.stop), -1) + 1
            rng = np.random.default_rng([seed, leg.number, round(leg.stop * 1e9), attempt])
            seconds, outcome = run(leg, rng)
            # `order` decides between legs that end at the same moment.
            heapq.heappush(running, (now + seconds, order, Finished(now, now + seconds, leg, outcome)))
            order += 1
        if not running:
            if not search.done:
                raise RuntimeError("the search is not done, yet nothing runs and it hands out nothing")
            return ended
        now, _, last = heapq.heappop(running)
        if now > stop_s:
            return ended
        ended.append(last)
        if isinstance(last.outcome, Lost):
            search.report_lost(last.leg)
        else:
            search.tell(last.leg, last.outcome)
