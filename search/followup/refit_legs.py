"""TODO."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rsopt.core.candidate import Leg
from rsopt.core.leg_files import read_measurement
from rsopt.core.objectives import Fault, Measurement
from search.engine.legs import refit_seed
from search.results.refits import Refit, read_plan, scored, write_plan
from search.storage.layout import REFITS_FOLDER
from search.study.history import CandidateState
from search.study.trial_records import LOST_LIMIT


def plan_refits(
    study: Path, states: Iterable[CandidateState], seeds: int, epochs: float | None, seed: int
) -> list[Refit]:
    """The refits of these trials with so many seeds, each with the number it had before or a new one; written down.

    Ordered by seed, then trial: whoever stops early has fewer seeds of all, not all seeds of a few. `epochs` None: as long
    as in the search. `seed` is the study's.
    """
    known = read_plan(study)
    wanted, plan = [], list(known)
    of = {(r.trial, r.replica, r.epochs): r for r in known}
    for replica in range(seeds):
        for state in states:
            recipe = state.candidate.recipe
            recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
            key = (state.number, replica, recipe.epochs)
            if key not in of:
                candidate = replace(state.candidate, recipe=recipe)
                of[key] = Refit(len(plan), state.number, replica, refit_seed(seed, state.number, replica), candidate)
                plan.append(of[key])
            wanted.append(of[key])
    if len(plan) > len(known):
        (study / REFITS_FOLDER).mkdir(exist_ok=True)
        write_plan(study, plan)
    return wanted


class Refits:
    """The wanted refits as legs for Ray. What is on the disk is the state: a leg is there or not, so is a score.

    A candidate's own fault ends its refit and is written into the plan. `rungs` are the study's: a refit that is killed goes on
    from the last one it reached. One process at a time may drive it (`search.study.writer_lock`).
    """

    def __init__(self, study: Path, wanted: Sequence[Refit], rungs: Sequence[float], slots: int) -> None:
        self.study, self.rungs, self.slots = study, tuple(rungs), slots
        self._open = {r.number: r for r in wanted if r.fault is None and scored(study, r) is None}
        self._in_flight: set[int] = set()
        self._lost: list[tuple[int, float]] = []
        self._stopped: str | None = None
        self.legs_done = 0  # in this session

    def ask(self) -> Leg | None:
        """A leg for a free worker; None while there is none."""
        if len(self._in_flight) >= self.slots or self._stopped:
            return None
        waiting = [r for number, r in self._open.items() if number not in self._in_flight]
        if not waiting:
            return None
        self._in_flight.add(waiting[0].number)
        return self._leg(waiting[0])

    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None:
        """What a leg found; after its last one the refit is done, its scores are on the disk."""
        self._in_flight.discard(leg.number)
        self.legs_done += 1
        if isinstance(outcome, Fault):
            self._open.pop(leg.number)
            reason = f"{outcome.kind}: {outcome.reason}"
            plan = [replace(r, fault=reason) if r.number == leg.number else r for r in read_plan(self.study)]
            write_plan(self.study, plan)
        elif leg.last:
            self._open.pop(leg.number)

    def report_lost(self, leg: Leg, refused: str | None = None) -> None:
        """Infrastructure lost a leg: handed out again, until one was lost for the third time."""
        self._in_flight.discard(leg.number)
        self._lost.append((leg.number, leg.stop))
        if self._lost.count((leg.number, leg.stop)) >= LOST_LIMIT:
            self._stopped = refused or f"a worker of refit {leg.number} was lost {LOST_LIMIT} times"

    @property
    def stopped(self) -> str | None:
        """Why no more legs are handed out, though there would be some."""
        return self._stopped

    @property
    def done(self) -> bool:
        """Whether no leg will be handed out again."""
        return bool(self._stopped) or not self._open

    @property
    def legs_left(self) -> int:
        """Legs that are not finished, those in flight included."""
        return sum(sum(rung > self._reached(r) for rung in self.rungs) for r in self._open.values())

    def _reached(self, refit: Refit) -> float:
        done = [
            rung for rung in self.rungs if read_measurement(self.study / REFITS_FOLDER, refit.number, rung) is not None
        ]
        return max(done, default=0.0)

    def _leg(self, refit: Refit) -> Leg:
        # A training that is finished but not scored is handed out by its last leg, which finds itself done.
        reached = min(self._reached(refit), max((r for r in self.rungs if r < 1.0), default=0.0))
        stop = min(rung for rung in self.rungs if rung > reached)
        return Leg(refit.number, refit.candidate, reached, stop, refit.seed)
