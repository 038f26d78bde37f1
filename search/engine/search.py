"""Search: the one writer of a study. Ray's searcher and the simulator alike call next, tell and lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from optuna.trial import TrialState

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement, Objective
from rsopt.errors import UserError
from search.engine.failure_monitor import FailureMonitor
from search.engine.legs import flaw, next_leg, teacher_leg
from search.engine.proposer import Proposer
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.optuna_sampler import OptunaSampler
from search.optimizer.sampler import Draw, Sampler
from search.optimizer.scheduler import Promote, Scheduler, StartCandidate, Wait, run_to_end
from search.space.bound_space import BoundSpace
from search.study.budget import Budget
from search.study.history import REFERENCES, CandidateState, History, Role, State
from search.study.journal import Journal
from search.study.trial_records import LOST_LIMIT, ending, interrupted

MEMORY = "memory: "  # how the reason of a candidate begins that ran and did not fit
INFEASIBLE_LIMIT = 1000  # draws in a row that break a limit, after which the limits are taken to exclude the space


class Search:
    """A study in a folder, new or taken up again, as the state of its journal and nothing else.

    - `trials`: candidates beside the two reference points; infeasible ones do not count.
    - `slots`: legs in flight at most. A leg asked for earlier than a worker is free would be decided on stale news.
    - `rungs`: ascending shares of the training budget, ending in 1.
    - `sampler`: one of Optuna's by name, or any other.
    - `policy`: where the next free worker goes.
    - `limit`: says before anything runs why a candidate breaks a limit, None if it does not. References run all the same.
    - `broken`: the same of what was measured at the end. A candidate that breaks a limit is infeasible and on no front.
    - `budget`: hours, asked before every leg; what rests when none fits any more is stopped.
    - `estimates`: what limits and policy look costs up in; it learns what this study measured before they are asked.
    - `keep`: called after each record, before anything follows from it: copies the journal to where it is safe.

    Raises UserError for a study that another process drives or that was created with another space, seed or rungs.
    """

    def __init__(
        self,
        folder: Path,
        space: BoundSpace,
        objectives: Sequence[Objective],
        rungs: Sequence[float],
        *,
        seed: int,
        trials: int,
        slots: int,
        sampler: str | Sampler = "tpe",
        policy: Scheduler = run_to_end,
        limit: Callable[[Candidate], str | None] | None = None,
        broken: Callable[[Mapping[str, float]], str | None] | None = None,
        estimates: CostEstimator | None = None,
        budget: Budget | None = None,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        if trials < 1 or slots < 1:
            raise UserError(f"trials and slots must be at least 1, not {trials} and {slots}")
        self.objectives, self.rungs, self.seed, self.trials, self.slots = (
            tuple(objectives),
            tuple(rungs),
            seed,
            trials,
            slots,
        )
        self.exhausted: str | None = None  # why no more candidates can be drawn, though the budget would allow them
        self._space, self._policy, self._limit, self._broken, self._estimates = space, policy, limit, broken, estimates
        self.budget = budget or Budget()
        self._sampler = OptunaSampler(space, objectives, sampler, seed) if isinstance(sampler, str) else sampler
        self._journal = Journal(folder, objectives, {"rungs": list(rungs), "seed": seed, "space": space.key}, keep)
        self.cut_bytes = self._journal.cut_bytes  # of a torn last line, cut off the journal on opening
        self._states = self._journal.history()
        self._told = sum(len(state.rungs) for state in self._states)
        self._seen = {state.candidate.key for state in self._states}
        self._in_flight: dict[int, Leg] = {}
        self._failures = FailureMonitor(any(state.rungs and state.role != "zero_shot" for state in self._states))
        # What was running when a driver died is handed out again from its last rung, before anything else.
        self._owed = {state.number for state in self._states if state.state == "running"}
        starts = [-1]
        for trial in self._journal.trials():
            if trial.params:
                self._sampler.add(trial)
            starts.append(trial.user_attrs.get("start", -1))
        sampled = any(state.role == "sampled" for state in self._states)
        self._proposer = Proposer(space, self._sampler, seed, len(space.starts) if sampled else max(starts) + 1)

    def ask(self) -> Leg | None:
        """The leg for a free worker, recorded before it is handed out; None while there is none (see `done`)."""
        if len(self._in_flight) >= self.slots or self.stopped:
            return None
        number = min(self._owed) if self._owed else self._decide()
        if number is None:
            return None
        self._owed.discard(number)
        self._in_flight[number] = self._leg(number)
        return self._in_flight[number]

    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None:
        """What a leg found, or why its candidate failed: NaN or a missing objective at the last rung is a failure too.

        A leg that was told before, or whose candidate was given up, changes nothing. An owed leg may be told as well: its
        worker may have finished when nobody listened. Raises ValueError for a leg that was never handed out.
        """
        if leg.number >= len(self._states):
            raise ValueError(f"leg of trial {leg.number} was never handed out")
        state = self._states[leg.number]
        if state.finished or leg.stop <= state.reached:
            return
        if state.state != "running" or leg != self._leg(leg.number):
            raise ValueError(f"leg of trial {leg.number} from {leg.start:g} to {leg.stop:g} was never handed out")
        if outcome.rung != leg.stop:
            raise ValueError(f"leg to rung {leg.stop:g} came back with rung {outcome.rung:g}")
        self._in_flight.pop(leg.number, None)
        self._owed.discard(leg.number)
        if isinstance(outcome, Fault) and outcome.kind == "memory":
            self._fail(state, MEMORY + outcome.reason, "infeasible")
        elif isinstance(outcome, Fault):
            self._fail(state, f"{outcome.kind}: {outcome.reason}")
        elif reason := flaw(state, leg, outcome, self.objectives):
            self._fail(state, reason)
        else:
            self._failures.measured(state.role != "zero_shot")
            # What was not measured is absent: an undefined side figure is no reason to fail, and no number either.
            metrics = {name: value for name, value in outcome.metrics.items() if math.isfinite(value)}
            rungs = (*state.rungs, Measurement(outcome.rung, metrics, outcome.seconds))
            state = replace(state, rungs=rungs, order=(*state.order, self._told))
            self._told += 1
            self._record(self._ended(state, metrics) if leg.last else replace(state, state="resting"))

    def report_lost(self, leg: Leg, refused: str | None = None) -> None:
        """Infrastructure lost a leg, which is not its candidate's fault: handed out again, and given up at the third loss.

        `refused`: what its worker could not do for it, where that is known. Losses of that kind stop the study instead.
        """
        if self._in_flight.get(leg.number) != leg:
            return
        del self._in_flight[leg.number]
        state = self._states[leg.number]
        state = replace(state, lost=(*state.lost, leg.stop))
        self._failures.lost_leg(refused)
        if state.lost.count(leg.stop) >= LOST_LIMIT and not self.stopped:
            self._failures.gave_up()
            reason = f"infrastructure: lost {LOST_LIMIT} times between {leg.start:g} and {leg.stop:g} of its training"
            self._record(replace(state, state="failed", reason=reason))
        else:
            self._owed.add(leg.number)
            self._record(state)

    def give_up(self, number: int, reason: str) -> None:
        """Stop a candidate that rests: it is not promoted any more. Raises ValueError for one that does not rest."""
        state = self._states[number]
        if state.state != "resting":
            raise ValueError(f"trial {number} is {state.state} and does not rest")
        self._record(replace(state, state="stopped", reason=reason))

    @property
    def stopped(self) -> str | None:
        """Why this session hands out no more legs though there would be some: whatever runs now fails (see FailureMonitor)."""
        return self._failures.stop_reason

    @property
    def done(self) -> bool:
        """Whether no leg will ever be handed out again within this budget."""
        return bool(self.stopped) or (not self.room and all(state.finished for state in self._states))

    @property
    def room(self) -> bool:
        """Whether another candidate may be started."""
        if self._missing_reference() is not None:
            return True
        # A new candidate is begun only while it could still be trained to its end.
        whole = self.exhausted is None and self.used < self.trials
        return whole and self.budget.fits(self.history, self.rungs, 0.0)

    @property
    def used(self) -> int:
        """Trials that count against the budget: neither references nor infeasible before they ran."""
        return sum(not state.reference and (state.state != "infeasible" or _ran(state)) for state in self._states)

    @property
    def history(self) -> History:
        """Every candidate by number, as of now."""
        return tuple(self._states)

    def snapshot(self, live: bool = True) -> History:
        """The history; with `live` false, as it is left behind: what has not finished is `interrupted`."""
        return self.history if live else tuple(map(interrupted, self._states))

    @property
    def orphans(self) -> tuple[Leg, ...]:
        """Legs handed out before and not told: a driver died, or they were lost. PriorObservation or handed out again next."""
        return tuple(self._leg(number) for number in sorted(self._owed))

    @property
    def in_flight(self) -> tuple[Leg, ...]:
        """Legs handed out and neither told nor lost."""
        return tuple(self._in_flight.values())

    @property
    def legs_per_trial(self) -> int:
        """Legs of a candidate that runs to the end."""
        return len(self.rungs)

    @property
    def teacher(self) -> Leg | None:
        """The whole training of the full-depth reference, which teaches candidates that distil; None where none may."""
        if not self._space.distills:
            return None
        return teacher_leg(self._space.full_depth()[1], self.seed)

    def close(self) -> None:
        """Let another process drive this study. Nothing needs saving."""
        self._journal.close()

    def _decide(self) -> int | None:
        """Ask the policy; the number of the candidate that runs next, already recorded as running."""
        if self._estimates is not None:
            self._estimates.learn(self.history)
        room = self.room  # once: a budget's clock must not change its mind in between
        decision = self._policy(self.history, room, self.seed)
        if isinstance(decision, Promote):
            state = self._states[decision.number]
            if state.state != "resting":
                raise RuntimeError(f"the policy promoted trial {decision.number}, which is {state.state}")
            if not state.reference and not self.budget.fits(
                self.history, [self._leg(state.number).stop], state.reached
            ):
                self._record(replace(state, state="stopped", reason="budget: its next leg would not end in time"))
                return self._decide()
            self._record(replace(state, state="running"))
            return decision.number
        if isinstance(decision, StartCandidate):
            if not room:
                raise RuntimeError("the policy asked for a new candidate, but the budget is spent")
            number = self._create()
            return number if number is not None else self._decide()  # exhausted: now there is no room
        assert isinstance(decision, Wait)
        if not self._in_flight:
            if room:
                raise RuntimeError("the policy waits though nothing is in flight and the budget is not spent")
            for state in self.history:
                if state.state == "resting":
                    self._record(
                        replace(state, state="stopped", reason=f"not promoted beyond {state.reached:g} of its training")
                    )
        return None

    def _create(self) -> int | None:
        """Create the next candidate that may run and return its number; None once `exhausted` says why there is none."""
        role = self._missing_reference()
        if role is not None:
            params, candidate = self._space.full_depth() if role == "full_depth" else ({}, self._space.zero_shot())
            over = {name: self._space.distributions[name] for name in params}
            state = CandidateState(len(self._states), role, "running", candidate, params)
            return self._add(state, Draw(params, over, {}, -1), None)
        infeasible = sum(
            1 for _ in takewhile(lambda s: s.state == "infeasible" and not _ran(s), reversed(self._states))
        )
        while infeasible < INFEASIBLE_LIMIT:
            number = len(self._states)
            proposal = self._proposer.propose(self.history, self._seen)
            if proposal is None:
                self.exhausted = "every candidate of the space was tried"
                return None
            reason = self._limit(proposal.candidate) if self._limit else None
            state = CandidateState(number, proposal.role, "running", proposal.candidate, proposal.draw.params)
            if reason is None:
                return self._add(state, proposal.draw, proposal.start)
            self._add(replace(state, state="infeasible", reason=reason), proposal.draw, proposal.start)
            infeasible += 1
        self.exhausted = f"the last {infeasible} candidates broke a limit, the last one: {self._states[-1].reason}"
        return None

    def _add(self, state: CandidateState, draw: Draw, start: int | None) -> int:
        state = replace(state, row=self._space.names.get(state.candidate.key))
        attrs = {} if start is None else {"start": start}
        self._journal.create(state, draw.distributions, draw.system_attrs, attrs)
        self._states.append(state)
        self._seen.add(state.candidate.key)
        if draw.index >= 0:
            self._sampler.keep(draw, state.number)
        elif state.params:
            self._sampler.add(self._journal.trials()[state.number])
        if state.finished:
            self._sampler.tell(state.number, TrialState.PRUNED, None)
        return state.number

    def _fail(self, state: CandidateState, reason: str, how: State = "failed") -> None:
        self._failures.failed(reason)
        self._record(replace(state, state=how, reason=reason))

    def _record(self, state: CandidateState) -> None:
        """Journal first, memory second: what is not written has not happened."""
        self._journal.update(state)
        self._states[state.number] = state
        if state.finished:
            self._sampler.tell(state.number, *ending(state, self.objectives))

    def _ended(self, state: CandidateState, metrics: Mapping[str, float]) -> CandidateState:
        """A fully trained candidate: complete, unless it breaks a limit. A reference point stays, but beside the front."""
        reason = self._broken(metrics) if self._broken else None
        if state.reference:
            reason = reason or (self._limit(state.candidate) if self._limit else None)
        return replace(state, state="infeasible" if reason and not state.reference else "complete", reason=reason)

    def _leg(self, number: int) -> Leg:
        return next_leg(self._states[number], self.rungs, self.seed)

    def _missing_reference(self) -> Role | None:
        present = {state.role for state in self._states[: len(REFERENCES)]}
        return next((role for role in REFERENCES if role not in present), None)


def _ran(state: CandidateState) -> bool:
    """Whether an infeasible candidate was found to be so by running it: that was paid for."""
    return (state.reason or "").startswith(MEMORY)
