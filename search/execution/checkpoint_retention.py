"""Deletes checkpoints that are not needed any more, so that a study's folder stays within --disk-gb."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from rsopt.common.atomic_files import replacing
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.objectives import Objective
from search.engine.search import Search
from search.optimizer.pareto import non_dominated
from search.study.history import CandidateState, History, final_values

DROPPED = "disk: its checkpoint was dropped to stay within --disk-gb"


class CheckpointRetention:
    """Deletes checkpoints until the folder and `headroom`, the bytes that running legs will write, are within `cap` bytes.

    The order, oldest first in each step: rungs that a later rung replaced; candidates that ended without a result; the
    optimizer's moments of finished candidates; finished candidates that are not on the front; resting candidates, which are
    stopped with that reason. The weights of the front are never deleted. The driver calls it after every leg, so no worker
    reads what is deleted.
    """

    def __init__(self, folder: Path, cap: int | None, headroom: int) -> None:
        self._folder, self._cap, self._headroom = folder, cap, headroom

    def enforce(self, search: Search) -> None:
        """Bring the study's folder within the cap. Does nothing without one."""
        if self._cap is None:
            return
        over = used_bytes(self._folder) + self._headroom - self._cap
        for candidate, path, moments_only in _droppable(self._folder, search.history, search.settings.objectives):
            if over <= 0:
                return
            before = path.stat().st_size
            if moments_only:
                _drop_moments(path)
                over -= before - path.stat().st_size
            else:
                if candidate.state == "resting":
                    # Before the file is deleted: a candidate that was given up needs no checkpoint.
                    search.give_up(candidate.number, DROPPED)
                path.unlink()
                over -= before


def used_bytes(folder: Path) -> int:
    """Bytes that the files below a folder occupy on disk. A file that is renamed meanwhile may be missed."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def _droppable(folder: Path, history: History, objectives: Sequence[Objective]) -> Iterator[tuple[CandidateState, Path, bool]]:
    """Checkpoints in the order in which they may be deleted, and whether only their moments may."""
    aged = sorted(history, key=lambda c: c.order[-1] if c.order else -1)
    last = {c.number: _state(folder, c, c.reached) for c in aged}
    for c in aged:
        for measurement in c.rungs[:-1]:
            yield from _existing(c, _state(folder, c, measurement.rung), False)
    for c in aged:
        if c.state in ("stopped", "infeasible", "failed"):
            yield from _existing(c, last[c.number], False)
    complete = [c for c in aged if c.state == "complete"]
    for c in complete:
        yield from _existing(c, last[c.number], True)
    placed = [(c, values) for c in complete if (values := final_values(c, objectives)) is not None]
    flags = non_dominated([values for _, values in placed])
    front = {c.number for (c, _), flag in zip(placed, flags, strict=True) if flag}
    for c in complete:
        if c.number not in front:
            yield from _existing(c, last[c.number], False)
    for c in aged:
        if c.state == "resting":
            yield from _existing(c, last[c.number], False)


def _state(folder: Path, c: CandidateState, rung: float) -> Path:
    return rung_folder(folder, c.number, rung) / STATE


def _existing(c: CandidateState, path: Path, moments_only: bool) -> Iterator[tuple[CandidateState, Path, bool]]:
    if path.is_file():
        yield c, path, moments_only


def _drop_moments(path: Path) -> None:
    """Keep only the weights of a checkpoint: enough to export and measure it, not to continue its training."""
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        weights = {name: file.get_tensor(name) for name in names if name.startswith("weight/")}
    if len(weights) == len(names):
        return
    with replacing(path) as aside:
        save_file(weights, aside)
