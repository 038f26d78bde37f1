"""Picks: which trial of a front is meant by a name, a number or a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.core.objectives import minimised
from rsopt.errors import UserError
from rsopt.latency.ledger import Ledger
from search.optimizer.pareto import picks
from search.results.front import Front, FrontEntry
from search.study.history import CandidateState

PICKS = ("knee", "best_cider", "fastest", "smallest")


def choose(front: Front, pick: str | None = None, max_latency_ms: float | None = None) -> FrontEntry:
    """Returns the trial that is meant: by default the knee, under a limit the best CIDEr within it.

    A named pick under a limit is the pick of the front of the trials within.

    Raises:
        UserError: no trial has finished, the pick is unknown or has not finished, or no trial is within the limit.
    """
    if not front.finished:
        raise UserError(f"study '{front.study}' has no finished trial yet")
    if max_latency_ms is not None and not max_latency_ms > 0:
        raise UserError(f"--max-latency-ms must be above 0, not {max_latency_ms:g}")
    within = [t for t in front.finished if max_latency_ms is None or _latency(t) <= max_latency_ms]
    if pick is not None and pick not in PICKS:
        trial = _numbered(front, pick)
        if trial not in within:
            raise UserError(f"trial {pick} takes {_latency(trial):.1f} ms, --max-latency-ms is {max_latency_ms:g}")
        return trial
    if not within:
        near = min(front.finished, key=_latency)
        raise UserError(
            f"no trial is within --max-latency-ms {max_latency_ms:g}; the nearest is trial {near.id} "
            f"({near.name}) with {_latency(near):.1f} ms"
        )
    # A reference point that breaks the study's own limit is complete with a reason: a row beside the front, no pick.
    points = [(t.id, p) for t in within if not t.reason and (p := minimised(front.objectives, t.metrics)) is not None]
    numbers = picks([number for number, _ in points], [point for _, point in points], front.objectives)
    name = pick or ("knee" if max_latency_ms is None else "best_cider")
    if name not in numbers:
        raise UserError(f"this front has no pick '{name}'; it has {', '.join(numbers)}, or give a trial's number")
    return front.trials[numbers[name]]


def neighbours(front: Front, trial: FrontEntry) -> list[FrontEntry]:
    """Returns the members next to a trial by their first objective: one better, then one worse, where they exist."""
    first = front.objectives[0]

    def value(t: FrontEntry) -> float:
        return first.minimised(t.metrics[first.name])

    members = sorted((t for t in front.members if t.id != trial.id), key=value)
    better = [t for t in members if value(t) < value(trial)]
    return [*better[-1:], *members[len(better) : len(better) + 1]]


def unpruned(front: Front) -> FrontEntry | None:
    """Returns the full-depth reference point, which is in every study; None where it has not finished."""
    return next((t for t in front.finished if t.role == "full_depth"), None)


def recorded_latency(ledger: Path, state: CandidateState) -> dict[str, Any] | None:
    """Returns the ledger's entry behind `latency_ms` of a trial, with its `dtype`; None where it has none of these depths.

    A ledger may hold several devices and protocols: the entry of this very value counts, else the first of these depths, with
    the rounds of the trial's own session, which may be a later one.
    """
    metrics = state.final.metrics if state.final else {}
    if (latency_ms := metrics.get("latency_ms")) is None:
        return None
    depths = state.candidate.variant.architecture()
    every = Ledger(ledger).entries()
    entries = [e for e in every if replace(e.architecture, dtype=depths.dtype, cross_layers=None) == depths]
    if not entries:
        return None
    entry = next((e for e in entries if e.latency.latency_ms == latency_ms), entries[0])
    runs = int(metrics.get("latency_runs", entry.latency.runs))
    return {**entry.latency.to_json(), "latency_ms": latency_ms, "runs": runs, "dtype": entry.architecture.dtype}


def _numbered(front: Front, pick: str) -> FrontEntry:
    known = f"{', '.join(PICKS)}, or one of the finished trials {', '.join(str(t.id) for t in front.finished)}"
    if not pick.isdecimal():
        raise UserError(f"unknown pick '{pick[:60]}'; known are {known}")
    trial = next((t for t in front.trials if t.id == int(pick)), None)
    if trial is None:
        raise UserError(f"there is no trial {pick[:20]}; known are {known}")
    if not trial.finished:
        why = f" ({trial.reason})" if trial.reason else ""
        raise UserError(f"trial {pick} is {trial.state}{why}; known are {known}")
    return trial


def _latency(trial: FrontEntry) -> float:
    return trial.metrics.get("latency_ms", float("inf"))
