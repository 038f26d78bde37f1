"""Picks: which trial of a front a name, a number or a limit means. Pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.core.objectives import OBJECTIVES, minimised
from rsopt.errors import UserError
from rsopt.latency.ledger import Ledger
from search.optimizer.pareto import picks
from search.study.history import CandidateState

PICKS = ("knee", "best_cider", "fastest", "smallest")


def choose(front: dict[str, Any], pick: str | None = None, max_latency_ms: float | None = None) -> dict[str, Any]:
    """The entry of `front["trials"]` that is meant: by default the knee, under a limit the best CIDEr within it.

    A named pick under a limit is the pick of the front of the trials within. Raises UserError, naming what there is, for a
    study without finished trials, an unknown pick, a trial that has not finished and a limit that nothing meets.
    """
    finished = [t for t in front["trials"] if t["state"] == "complete"]
    if not finished:
        raise UserError(f"study '{front['study']}' has no finished trial, so there is nothing to take away yet")
    if max_latency_ms is not None and not max_latency_ms > 0:
        raise UserError(f"--max-latency-ms must be above 0, not {max_latency_ms:g}")
    within = [t for t in finished if max_latency_ms is None or _latency(t) <= max_latency_ms]
    if pick is not None and pick not in PICKS:
        trial = _numbered(front, pick)
        if trial not in within:
            raise UserError(f"trial {pick} takes {_latency(trial):.1f} ms, --max-latency-ms is {max_latency_ms:g}")
        return trial
    if not within:
        near = min(finished, key=_latency)
        raise UserError(
            f"no trial is within --max-latency-ms {max_latency_ms:g}; the nearest is trial {near['id']} "
            f"({near['name']}) with {_latency(near):.1f} ms"
        )
    objectives = [OBJECTIVES[o["name"]] for o in front["objectives"]]
    # A reference point that breaks the study's own limit is complete with a reason: a row beside the front, no pick.
    free = [t for t in within if not t["reason"]]
    points = [(t, values) for t in free if (values := minimised(objectives, t["metrics"])) is not None]
    found = picks([t["id"] for t, _ in points], [values for _, values in points], objectives)
    name = pick or ("knee" if max_latency_ms is None else "best_cider")
    if name not in found:
        raise UserError(f"this front has no pick '{name}'; it has {', '.join(found)}, or give a trial's number")
    return next(t for t in within if t["id"] == found[name])


def neighbours(front: dict[str, Any], trial: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of the front next to a trial, in the order of their first objective: one better, one worse, where there are."""
    first = OBJECTIVES[front["objectives"][0]["name"]]

    def place(t: dict[str, Any]) -> float:
        return first.minimised(t["metrics"][first.name])

    members = sorted((t for t in front["trials"] if t["pareto"] and t["id"] != trial["id"]), key=place)
    better = [t for t in members if place(t) < place(trial)]
    return [*better[-1:], *members[len(better) : len(better) + 1]]


def unpruned(front: dict[str, Any]) -> dict[str, Any] | None:
    """The full-depth reference point, which is in every study; None where it has not finished."""
    return next((t for t in front["trials"] if t["role"] == "full_depth" and t["state"] == "complete"), None)


def _numbered(front: dict[str, Any], pick: str) -> dict[str, Any]:
    finished = [t["id"] for t in front["trials"] if t["state"] == "complete"]
    known = f"{', '.join(PICKS)}, or one of the finished trials {', '.join(map(str, finished))}"
    if not pick.isdecimal():
        raise UserError(f"unknown pick '{pick[:60]}'; known are {known}")
    trial = next((t for t in front["trials"] if t["id"] == int(pick)), None)
    if trial is None:
        raise UserError(f"there is no trial {pick[:20]}; known are {known}")
    if trial["state"] != "complete":
        why = f" ({trial['reason']})" if trial["reason"] else ""
        raise UserError(f"trial {pick} is {trial['state']}{why}; only finished trials can be taken: {known}")
    return trial


def _latency(trial: dict[str, Any]) -> float:
    return float(trial["metrics"].get("latency_ms", float("inf")))


def recorded_latency(ledger: Path, state: CandidateState) -> dict[str, Any] | None:
    """The ledger's entry behind `latency_ms` of a trial, with its `dtype`; None where the ledger has none of these depths.

    A ledger may hold several devices and protocols: the entry of this very value counts, else the first of these depths.
    """
    wanted = state.final.metrics.get("latency_ms") if state.final else None
    if wanted is None:
        return None
    depths = state.candidate.variant.architecture()
    entries = Ledger(ledger).entries()
    found = [e for e in entries if replace(e.architecture, dtype=depths.dtype, cross_layers=None) == depths]
    if not found:
        return None
    entry = next((e for e in found if e.latency.latency_ms == wanted), found[0])
    return {**entry.latency.to_json(), "latency_ms": wanted, "dtype": entry.architecture.dtype}
