"""Plans refits and asks for their legs, which Ray runs like those of a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.common.clock import now_ms
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import read_measurement
from rsopt.core.objectives import Fault, Measurement
from search.engine.legs import refit_seed
from search.results.refits import Refit, read_plan, scored, write_plan
from search.storage.layout import REFITS_FOLDER
from search.study.history import CandidateState
from search.study.trial_records import LOST_LIMIT


def plan_refits(study: Path, states: Iterable[CandidateState], seeds: int, epochs: float | None, seed: int) -> list[Refit]:
    """Returns the refits of these trials, and adds the new ones to the study's plan.

    They are ordered by seed, then by trial, so that an early stop leaves fewer seeds of all trials.

    Args:
        study: The study's folder.
        states: Trials to train again.
        seeds: Trainings of each.
        epochs: Length of a training; None for that of the search.
        seed: The study's seed, from which those of the refits are derived.
    """
    plan = read_plan(study)
    known = len(plan)
    refits, by_key = [], {(r.trial, r.replica, r.epochs): r for r in plan}
    for replica in range(seeds):
        for state in states:
            recipe = state.candidate.recipe
            recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
            key = (state.number, replica, recipe.epochs)
            if key not in by_key:
                candidate = replace(state.candidate, recipe=recipe)
                refit = Refit(len(plan), state.number, replica, refit_seed(seed, state.number, replica), candidate)
                plan.append(refit)
                by_key[key] = refit
            refits.append(by_key[key])
    if len(plan) > known:
        (study / REFITS_FOLDER).mkdir(exist_ok=True)
        write_plan(study, plan)
    return refits


class RefitLegs:
    """Source of the legs of refits. Its state is on the disk: finished legs and scores on the test split.

    A fault of the candidate ends its refit and is written into the plan. `rungs` are the study's: a killed refit continues
    after the last rung that it reached. Only one process at a time may use it (`search.study.writer_lock`).
    """

    def __init__(self, study: Path, refits: Sequence[Refit], rungs: Sequence[float], slots: int) -> None:
        self.study, self.rungs, self.slots = study, tuple(rungs), slots
        self._open = {r.number: r for r in refits if r.fault is None and scored(study, r) is None}
        self._in_flight: set[int] = set()
        self._lost: list[tuple[int, float]] = []
        self._stopped: str | None = None
        self.legs_done = 0  # in this session

    def ask(self) -> Leg | None:
        """Returns a leg for a free worker, None while there is none."""
        if len(self._in_flight) >= self.slots or self._stopped:
            return None
        waiting = [r for number, r in self._open.items() if number not in self._in_flight]
        if not waiting:
            return None
        refit = waiting[0]
        self._in_flight.add(refit.number)
        if refit.started_ms is None:
            self._open[refit.number] = replace(refit, started_ms=now_ms())
            self._record(refit.number, started_ms=self._open[refit.number].started_ms)
        return self._leg(refit)

    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None:
        """Records the outcome of a leg. After the last one the refit is finished and its scores are on the disk."""
        self._in_flight.discard(leg.number)
        self.legs_done += 1
        if isinstance(outcome, Fault):
            self._open.pop(leg.number)
            self._record(leg.number, fault=f"{outcome.kind}: {outcome.reason}", ended_ms=now_ms())
        elif leg.last:
            self._open.pop(leg.number)
            self._record(leg.number, ended_ms=now_ms())

    def report_lost(self, leg: Leg, refused: str | None = None) -> None:
        """Records the loss of a leg, which is asked for again. `LOST_LIMIT` losses of one leg stop the session."""
        self._in_flight.discard(leg.number)
        self._lost.append((leg.number, leg.stop))
        if self._lost.count((leg.number, leg.stop)) >= LOST_LIMIT:
            self._stopped = refused or f"a worker of refit {leg.number} was lost {LOST_LIMIT} times"

    @property
    def stopped(self) -> str | None:
        """Why no more legs are returned although some are left; None where it goes on."""
        return self._stopped

    @property
    def room(self) -> bool:
        """Whether legs may be added: all refits are known from the start."""
        return False

    @property
    def done(self) -> bool:
        """Whether no leg will be returned any more."""
        return bool(self._stopped) or not self._open

    @property
    def legs_left(self) -> int:
        """Number of unfinished legs, those in flight included."""
        return sum(sum(rung > self._reached(r) for rung in self.rungs) for r in self._open.values())

    def _record(self, number: int, **changes: Any) -> None:
        """Writes what changed about a refit into the plan."""
        write_plan(self.study, [replace(r, **changes) if r.number == number else r for r in read_plan(self.study)])

    def _reached(self, refit: Refit) -> float:
        folder = self.study / REFITS_FOLDER
        return max((r for r in self.rungs if read_measurement(folder, refit.number, r) is not None), default=0.0)

    def _leg(self, refit: Refit) -> Leg:
        # A refit that is trained but not scored is returned with its last leg, which is then not trained again.
        reached = min(self._reached(refit), max((r for r in self.rungs if r < 1.0), default=0.0))
        stop = min(rung for rung in self.rungs if rung > reached)
        return Leg(refit.number, refit.candidate, reached, stop, refit.seed)
