"""Schedulers: what the next free worker does. Pure functions of (history, room, seed): no I/O, no clock.

A scheduler that needs more (a cost model, the space) is a callable that holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search.study.history import History


@dataclass(frozen=True, slots=True)
class StartCandidate:
    """Start another candidate: the next reference, starting point or suggestion."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Run the next leg of the resting candidate of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave the worker idle until a leg in flight ends. With nothing in flight and no room, the search is over."""


Decision = StartCandidate | Promote | Wait
# (history, whether another candidate may be started, study seed) -> decision
Scheduler = Callable[[History, bool, int], Decision]


def run_to_end(history: History, room: bool = True, seed: int = 0) -> Decision:
    """Trains every candidate to the full budget: promotes the resting one of the lowest number, else starts a new one."""
    resting = next((c.number for c in history if c.state == "resting"), None)
    if resting is not None:
        return Promote(resting)
    return StartCandidate() if room else Wait()
