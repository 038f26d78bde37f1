"""The ask/tell engine of a study and the only writer of its journal. Ray's searcher and the simulator both drive it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement, Objective
from rsopt.errors import UserError
from rsopt.latency.ledger import tied
from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.failure_monitor import FailureMonitor
from search.engine.legs import next_leg, teacher_leg
from search.engine.proposer import Proposal, Proposer
from search.engine.transitions import after_leg, after_loss, breaks_limit, completed
from search.optimizer.factory import Optimizer
from search.optimizer.scheduler import Promote, StartCandidate, Wait
from search.space.bound_space import BoundSpace
from search.storage.layout import REMEASURED_FILE
from search.study.budget import Budget
from search.study.history import REFERENCES, CandidateState, History, Role
from search.study.journal import Journal
from search.study.latencies import latency_interval, read_remeasured, with_best_latencies
from search.study.limits import Limits
from search.study.trial_records import TrialTimes, ending, interrupted

INFEASIBLE_LIMIT = 1000  # candidates in a row that break a limit, after which the limits are taken to exclude the space


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Settings of a search. Raises UserError if `trials` or `slots` is below 1.

    - `rungs`: ascending shares of the training budget, ending in 1.
    - `trials`: candidates besides the two references; those that break a limit do not count.
    - `slots`: most legs in flight. Asking for a leg before a worker is free would decide on fewer measurements.
    - `limits`: checked on what is measured at the last rung; the optimizer checks predictions.
    """

    objectives: tuple[Objective, ...]
    rungs: tuple[float, ...]
    seed: int
    trials: int
    slots: int
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.trials < 1 or self.slots < 1:
            raise UserError(f"trials and slots must be at least 1, not {self.trials} and {self.slots}")


class Search:
    """A study in a folder, new or resumed. Its whole state is in the journal."""

    def __init__(
        self,
        folder: Path,
        space: BoundSpace,
        settings: SearchSettings,
        optimizer: Optimizer,
        budget: Budget | None = None,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens or creates the study.

        Args:
            folder: the study's folder; created if it does not exist.
            space: what is searched.
            settings: objectives, rungs, seed and numbers of trials and workers.
            optimizer: chooses new candidates and those to train further.
            budget: hours, checked before every leg; resting candidates for which none fits are stopped.
            keep: called after each record and before anything follows from it, to copy the journal to durable storage.

        Raises:
            UserError: another process drives the study, or it was created with another space, seed or rungs.
        """
        self.settings, self.budget = settings, budget or Budget()
        self.exhausted: str | None = None  # why no more candidates can be proposed, though the budget would allow them
        self._space, self._optimizer = space, optimizer
        recorded = {"rungs": list(settings.rungs), "seed": settings.seed, "space": space.key}
        self._journal = Journal(folder, settings.objectives, recorded, keep)
        self.cut_bytes = self._journal.cut_bytes  # of a torn last line, cut off the journal on opening
        self._states = self._journal.history()
        self._folder, self._remeasured = folder, read_remeasured(folder)
        self._history: History | None = None  # as of now, with the best known latencies
        self._measurements = sum(len(state.rungs) for state in self._states)
        self._in_flight: dict[int, Leg] = {}
        self._failures = FailureMonitor(any(state.rungs and state.role != "zero_shot" for state in self._states))
        # What was running when a driver died runs again from its last rung, before anything else.
        self._owed = {state.number for state in self._states if state.state == "running"}
        self._proposer = Proposer(space, optimizer.sampler, settings.seed)
        for state, trial in zip(self._states, self._journal.trials(), strict=True):
            self._proposer.add(state, trial)

    def ask(self) -> Leg | None:
        """Returns the leg for a free worker, already recorded; None while there is none (see `done`)."""
        if len(self._in_flight) >= self.settings.slots or self.stopped:
            return None
        number = min(self._owed) if self._owed else self._decide()
        if number is None:
            return None
        self._owed.discard(number)
        self._in_flight[number] = self._leg(number)
        return self._in_flight[number]

    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None:
        """Records a leg's measurement, or why its candidate failed; see `transitions.after_leg`.

        Repeated outcomes and those of finished candidates change nothing. Outcomes of legs that an earlier session left
        over are accepted: the worker may have finished after the crash. Raises ValueError for a leg that was never asked for.
        """
        if leg.number >= len(self._states):
            raise ValueError(f"leg of trial {leg.number} was never asked for")
        state = self._states[leg.number]
        if state.finished or leg.stop <= state.reached:
            return
        if state.state != "running" or leg != self._leg(leg.number):
            raise ValueError(f"leg of trial {leg.number} from {leg.start:g} to {leg.stop:g} was never asked for")
        if outcome.rung != leg.stop:
            raise ValueError(f"leg to rung {leg.stop:g} came back with rung {outcome.rung:g}")
        self._in_flight.pop(leg.number, None)
        self._owed.discard(leg.number)
        state = after_leg(state, leg, outcome, self.settings.objectives, self._measurements)
        if state.state == "resting":
            self._failures.measured(state.role != "zero_shot")
            self._measurements += 1
            if leg.last:
                state = completed(state, self._broken_limit(state))
        else:
            self._failures.failed(state.reason or "")
        self._record(state)

    def report_lost(self, leg: Leg, refused: str | None = None) -> None:
        """Records that infrastructure lost a leg, which is not its candidate's fault: it runs again, up to `LOST_LIMIT` times.

        `refused` is why the worker's machine could not run it, if known. Such losses stop the session, not the candidate.
        """
        if self._in_flight.get(leg.number) != leg:
            return
        del self._in_flight[leg.number]
        self._failures.lost_leg(refused)
        state = after_loss(self._states[leg.number], leg, give_up=not self.stopped)
        if state.finished:
            self._failures.gave_up()
        else:
            self._owed.add(leg.number)
        self._record(state)

    @property
    def remeasured(self) -> Mapping[int, RemeasuredLatency]:
        """Latencies that were measured again at the end of this session or an earlier one, by trial."""
        return self._remeasured

    def remeasure(self, number: int, metrics: dict[str, float], seconds: float) -> None:
        """Records the metrics of a last session of a trained candidate's architecture; they replace those of a disturbed one.

        `seconds` of a worker are added up. Raises OSError if the disk refuses it.
        """
        recorded = self._states[number].rungs[-1].metrics
        differs = not tied(latency_interval(recorded), latency_interval(metrics))
        spent = before.seconds or 0.0 if (before := self._remeasured.get(number)) else 0.0
        self._remeasured[number] = RemeasuredLatency(metrics, recorded["latency_ms"], differs, round(spent + seconds, 2))
        self._history = None
        write_json(self._folder / REMEASURED_FILE, {n: again.to_json() for n, again in sorted(self._remeasured.items())})

    def give_up(self, number: int, reason: str) -> None:
        """Stops a resting candidate, which is then never promoted. Raises ValueError for one that does not rest."""
        state = self._states[number]
        if state.state != "resting":
            raise ValueError(f"trial {number} is {state.state} and does not rest")
        self._record(replace(state, state="stopped", reason=reason))

    @property
    def stopped(self) -> str | None:
        """Why this session asks for no more legs although the study is not done; see `FailureMonitor`."""
        return self._failures.stop_reason

    @property
    def done(self) -> bool:
        """Whether `ask` will never return a leg again in this session."""
        return bool(self.stopped) or (not self.room and all(state.finished for state in self._states))

    @property
    def room(self) -> bool:
        """Whether another candidate may be started: only one that could still be trained to its end."""
        if self._missing_reference() is not None:
            return True
        more = self.exhausted is None and self.used < self.settings.trials
        return more and self.budget.fits(self.history, self.settings.rungs, 0.0)

    @property
    def used(self) -> int:
        """Number of trials that count against `trials`: no references, none that break a limit."""
        return sum(not state.reference and not breaks_limit(state) for state in self._states)

    @property
    def history(self) -> History:
        """Every candidate by number as of now, with the best latency that is known of its architecture."""
        if self._history is None:
            self._history = with_best_latencies(tuple(self._states), self._remeasured, self.settings.limits)
        return self._history

    @property
    def times(self) -> tuple[TrialTimes, ...]:
        """When each candidate of the history began and ended."""
        return tuple(map(TrialTimes.of, self._journal.trials()))

    def snapshot(self, live: bool = True) -> History:
        """Returns the history; with `live` false, as it is left behind: what has not finished is `interrupted`."""
        return self.history if live else tuple(map(interrupted, self.history))

    @property
    def orphans(self) -> tuple[Leg, ...]:
        """Legs of an earlier session that have no outcome, and lost legs. `ask` returns them first; they may be told too."""
        return tuple(self._leg(number) for number in sorted(self._owed))

    @property
    def in_flight(self) -> tuple[Leg, ...]:
        """Legs asked for that have no outcome yet."""
        return tuple(self._in_flight.values())

    @property
    def teacher(self) -> Leg | None:
        """The whole training of the full-depth reference, which teaches candidates that distil; None where none may."""
        return teacher_leg(self._space.full_depth()[1], self.settings.seed) if self._space.distills else None

    def close(self) -> None:
        """Lets another process drive this study. Nothing needs saving."""
        self._journal.close()

    def _decide(self) -> int | None:
        """Asks the scheduler; returns the number of the candidate that runs next, recorded as running."""
        while True:
            self._optimizer.estimator.learn(self.history)
            room = self.room  # once a decision: the budget's clock must not change the answer in between
            decision = self._optimizer.scheduler(self.history, room, self.settings.seed)
            match decision:
                case Promote(number):
                    if self._promote(self._states[number]):
                        return number
                case StartCandidate():
                    if not room:
                        raise RuntimeError("the scheduler asked for a new candidate, but the budget is spent")
                    created = self._create()
                    if created is not None:
                        return created
                case Wait():
                    if not self._in_flight:
                        self._stop_resting(room)
                    return None

    def _promote(self, state: CandidateState) -> bool:
        """Records a resting candidate as running, or as stopped where the budget has no room for its next leg."""
        if state.state != "resting":
            raise RuntimeError(f"the scheduler promoted trial {state.number}, which is {state.state}")
        stop = self._leg(state.number).stop
        fits = state.reference or self.budget.fits(self.history, [stop], state.reached)
        if fits:
            self._record(replace(state, state="running"))
        else:
            self.give_up(state.number, "budget: its next leg would not end in time")
        return fits

    def _stop_resting(self, room: bool) -> None:
        """Stops what rests when the scheduler waits for nothing: the search is over."""
        if room:
            raise RuntimeError("the scheduler waits though nothing is in flight and the budget is not spent")
        for state in self.history:
            if state.state == "resting":
                self.give_up(state.number, f"not promoted beyond {state.reached:g} of its training")

    def _create(self) -> int | None:
        """Creates the next candidate that may run; returns its number, None once `exhausted` says why there is none."""
        role = self._missing_reference()
        if role is not None:
            params, candidate = self._space.full_depth() if role == "full_depth" else ({}, self._space.zero_shot())
            return self._add(CandidateState(len(self._states), role, "running", candidate, params))
        refused = sum(1 for _ in takewhile(breaks_limit, reversed(self._states)))
        while refused < INFEASIBLE_LIMIT:
            proposal = self._proposer.propose(self.history)
            if proposal is None:
                self.exhausted = "every candidate of the space was tried"
                return None
            params, candidate = proposal.suggestion.params, proposal.candidate
            state = CandidateState(len(self._states), proposal.role, "running", candidate, params)
            reason = self._optimizer.limit(candidate) if self._optimizer.limit else None
            if reason is None:
                return self._add(state, proposal)
            self._add(replace(state, state="infeasible", reason=reason), proposal)
            refused += 1
        self.exhausted = f"the last {refused} candidates broke a limit, the last one: {self._states[-1].reason}"
        return None

    def _add(self, state: CandidateState, proposal: Proposal | None = None) -> int:
        """Records a new candidate; a reference has no proposal. Returns its number."""
        state = replace(state, row=self._space.names.get(state.candidate.key))
        distributions = {name: self._space.distributions[name] for name in state.params}
        system_attrs = proposal.suggestion.system_attrs if proposal else {}
        user_attrs = {"start": proposal.start} if proposal and proposal.start is not None else {}
        self._journal.create(state, distributions, system_attrs, user_attrs)
        self._states.append(state)
        self._history = None
        if proposal is None:
            self._proposer.add(state, self._journal.trials()[state.number])
        else:
            self._proposer.accept(state, proposal)
        self._tell_sampler(state)
        return state.number

    def _record(self, state: CandidateState) -> None:
        """Writes the journal first, memory second: what is not written has not happened."""
        self._journal.update(state)
        self._states[state.number] = state
        self._history = None
        self._tell_sampler(state)

    def _tell_sampler(self, state: CandidateState) -> None:
        if state.finished:
            self._proposer.tell(state.number, *ending(state, self.settings.objectives))

    def _broken_limit(self, state: CandidateState) -> str | None:
        """Why a fully trained candidate breaks a limit. References, which ran all the same, are held to predictions too."""
        assert state.rungs
        reason = self.settings.limits.broken(state.rungs[-1].metrics)
        if state.reference and self._optimizer.limit:
            reason = reason or self._optimizer.limit(state.candidate)
        return reason

    def _leg(self, number: int) -> Leg:
        return next_leg(self._states[number], self.settings.rungs, self.settings.seed)

    def _missing_reference(self) -> Role | None:
        present = {state.role for state in self._states[: len(REFERENCES)]}
        return next((role for role in REFERENCES if role not in present), None)
