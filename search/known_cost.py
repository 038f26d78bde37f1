"""known_cost: the default sampler and its policy. Costs are known beforehand, so only CIDEr has to be guessed.

A Gaussian process guesses it for any candidate at the end of its training; the closed form of `search.improvement` turns
guess and known costs into an expected gain of hypervolume, and the next free worker goes where that gain per remaining
training is largest: a new candidate, or one that rests at a rung. Everything is a function of (history, seed); caches only
save time, so a resumed search decides as the undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsopt.errors import UserError
from rsopt.objectives import OBJECTIVES, Objective
from rsopt.recipe import Candidate
from search.bound import BoundSpace, Params
from search.encoding import Encoder
from search.estimates import UNCERTAIN, Estimates
from search.history import CandidateState, History, final_values, reference_point
from search.improvement import expected_improvement
from search.pareto import hypervolume, non_dominated
from search.policy import Decision, New, Promote, Wait
from search.surrogate import Posterior, Surrogate

Array = NDArray[np.float64]
INITIAL = 10  # candidates that are begun before the model chooses
RANDOM, NEIGHBOURS = 192, 96  # new candidates looked at in a decision
TRIED = 4096  # random params drawn at most to find as many that keep the limits
ENUMERATED = 2500  # spaces up to this size are looked at whole
ROWS = 400  # measurements that a prediction is made from, at most
MILESTONES = (
    6,
    9,
    13,
    18,
    25,
    35,
    50,
    70,
    100,
    140,
    200,
    300,
    500,
    1000,
    2000,
    4000,
)  # measurements at which the model is tuned
WORTH = 2e-3  # of the hypervolume: what a resting candidate must promise once no new one may be begun

Limit = Callable[[Candidate], str | None]


@dataclass(frozen=True, slots=True)
class Prospect:
    """A candidate that might be begun, with its row for the model."""

    params: Params
    candidate: Candidate
    row: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the model says at one moment. Points are minimised; `pending` ones are those in flight, as expected."""

    posterior: Posterior
    front: Array  # (n, m) measured and expected points
    corner: Array  # (m,) the hypervolume's reference point
    volume: float  # hypervolume of what was measured


class KnownCost:
    """Proposes new candidates and decides between them and resting ones, for one study. Needs CIDEr among the objectives."""

    def __init__(
        self,
        space: BoundSpace,
        objectives: Sequence[Objective],
        seed: int,
        estimates: Estimates,
        limit: Limit | None = None,
        told: Sequence[tuple[Params, float, float]] = (),
    ) -> None:
        names = [o.name for o in objectives]
        if UNCERTAIN not in names:
            raise UserError(f"sampler known_cost needs {UNCERTAIN} among the objectives; choose another --sampler")
        self._space, self._objectives, self._seed = space, tuple(objectives), seed
        self._estimates, self._limit = estimates, limit
        self._column = names.index(UNCERTAIN)
        self._encoder = Encoder(space)
        self._surrogate = Surrogate(self._encoder.groups)
        # Measurements of another study: (params, rung, CIDEr).
        self._before = [([*self._encoder.encode(params), rung], value) for params, rung, value in told]
        self._tuned: tuple[int, int] | None = None
        self._outlook: tuple[History, Outlook] | None = None
        self._best: tuple[History, Prospect | None, float] | None = None
        self._encoded: dict[int, list[float]] = {}
        self._whole: list[Prospect] | None = None
        self._randoms: tuple[int, list[Prospect]] = (-1, [])
        self._tried: set[Candidate] = set()
        self._counted = 0

    def decide(self, history: History, room: bool = True, seed: int = 0) -> Decision:
        """The policy: reference points to their end, then the first candidates, then whatever promises most per training."""
        resting = [c for c in history if c.state == "resting"]
        for c in resting:
            if c.reference:
                return Promote(c.number)
        if room and self._begun(history) < max(INITIAL, len(self._space.starts)):
            return New()
        if not resting:
            return New() if room else Wait()
        outlook = self._look(history)
        if outlook is None:
            return Promote(resting[0].number)
        gains = self._gains(outlook, [self._row(c) for c in resting], [c.candidate for c in resting])
        rates = gains / np.array([(1 - c.reached) * _effort(c.candidate) for c in resting])
        best = int(np.argmax(rates))
        if room:
            _, rate = self._choose(history)
            return Promote(resting[best].number) if rates[best] >= rate and rates[best] > 0 else New()
        most = int(np.argmax(gains))
        if gains[most] > WORTH * outlook.volume:
            return Promote(resting[best if gains[best] > WORTH * outlook.volume else most].number)
        return Wait()

    def propose(self, history: History) -> Params | None:
        """Params of the new candidate that promises most per training; None to draw at random."""
        if self._begun(history) < max(INITIAL, len(self._space.starts)):
            found = self._prospects(history)
            rng = np.random.default_rng([self._seed, len(history), 2])
            return found[int(rng.integers(len(found)))].params if found else None
        best, _ = self._choose(history)
        return best.params if best is not None else None

    def _choose(self, history: History) -> tuple[Prospect | None, float]:
        """The new candidate of the largest expected gain per training, and that rate."""
        if self._best is not None and self._best[0] == history:
            return self._best[1:]
        outlook = self._look(history)
        prospects = self._prospects(history)
        best, rate = (prospects[0] if prospects else None), 0.0
        if outlook is not None and prospects:
            gains = self._gains(outlook, [p.row for p in prospects], [p.candidate for p in prospects])
            rates = gains / np.array([_effort(p.candidate) for p in prospects])
            most = int(np.argmax(rates))
            best, rate = prospects[most], float(rates[most])
        self._best = (history, best, rate)
        return best, rate

    def _gains(self, outlook: Outlook, found: Sequence[Sequence[float]], candidates: Sequence[Candidate]) -> Array:
        """Expected gain of hypervolume (n,) if each were trained to its end."""
        mean, sd = outlook.posterior.predict(_at_end(found))
        known = np.array([self._estimates.known(c) for c in candidates])
        sign = OBJECTIVES[UNCERTAIN].minimised(1.0)
        return expected_improvement(outlook.front, outlook.corner, self._column, known, sign * mean, sd)

    def _look(self, history: History) -> Outlook | None:
        """Model and front as of this history; None before anything was measured."""
        if self._outlook is not None and self._outlook[0] == history:
            return self._outlook[1]
        self._estimates.learn(history)
        told = sorted(
            (order, c.number, m.rung, m.metrics[UNCERTAIN])
            for c in history
            if c.role != "zero_shot" and c.params
            for order, m in zip(c.order, c.rungs, strict=True)
            if UNCERTAIN in m.metrics
        )
        if len(told) < 2:
            return None
        milestone = max((m for m in MILESTONES if m <= len(told)), default=2)
        data = np.array([[*self._row(history[number]), rung] for _, number, rung, _ in told])
        values = np.array([value for *_, value in told])
        before = np.array([row for row, _ in self._before]).reshape(-1, data.shape[1])
        earlier = np.array([value for _, value in self._before])
        if self._tuned != (milestone, told[milestone - 1][1]):
            self._surrogate.tune(np.vstack([before, data[:milestone]]), np.append(earlier, values[:milestone]))
            self._tuned = (milestone, told[milestone - 1][1])
        if len(told) > ROWS:
            last = {number: i for i, (_, number, _, _) in enumerate(told)}  # a candidate's last rung tells the most
            kept = sorted(sorted(last.values(), key=lambda i: (told[i][2], i))[-ROWS:])
            data, values = data[kept], values[kept]
        data, values = np.vstack([before[-ROWS:], data]), np.append(earlier[-ROWS:], values)
        posterior = self._surrogate.fit(data, values)
        corner = self._corner(history)
        points = [v for c in history if (v := final_values(c, self._objectives)) is not None]
        measured = np.array(points).reshape(-1, len(corner))
        front = measured[non_dominated(measured)]
        volume = hypervolume(measured, corner)
        pending = [c for c in history if c.in_flight and c.params]
        if pending:
            found = _at_end([self._row(c) for c in pending])
            mean, _ = posterior.predict(found)
            posterior = self._surrogate.fit(np.vstack([data, found]), np.append(values, mean))
            known = [self._estimates.known(c.candidate) for c in pending]
            sign = OBJECTIVES[UNCERTAIN].minimised(1.0)
            expected = [np.insert(k, self._column, sign * value) for k, value in zip(known, mean, strict=True)]
            front = np.vstack([front, *expected])
            front = front[non_dominated(front)]
        outlook = Outlook(posterior, front, corner, volume)
        self._outlook = (history, outlook)
        return outlook

    def _corner(self, history: History) -> Array:
        """The hypervolume's reference point; as estimated until the full depth is measured."""
        found = reference_point(history, self._objectives)
        if found is None:
            known = iter(self._estimates.known(self._space.full_depth()[1]))
            found = tuple(0.0 if o.name == UNCERTAIN else next(known) * o.reference_factor for o in self._objectives)
        return np.array(found)

    def _prospects(self, history: History) -> list[Prospect]:
        """New candidates that keep the limits: the whole space if it is small, else random ones and neighbours of good ones."""
        if len(history) < self._counted:
            self._tried, self._counted = set(), 0
        self._tried.update(c.candidate for c in history[self._counted :])
        self._counted = len(history)
        self._estimates.learn(history)
        size = self._space.size
        if size is not None and size <= ENUMERATED:
            if self._whole is None:
                distinct: dict[Candidate, Prospect] = {}
                for params in self._space.combinations():
                    prospect = self._prospect(params)
                    distinct.setdefault(prospect.candidate, prospect)
                self._whole = list(distinct.values())
            return [p for p in self._whole if p.candidate not in self._tried and self._keeps(p.candidate)]
        if self._randoms[0] != len(history):
            rng = np.random.default_rng([self._seed, len(history), 0])
            self._randoms = (len(history), [self._prospect(self._encoder.random(rng)) for _ in range(RANDOM)])
        found = {
            p.candidate: p for p in self._randoms[1] if p.candidate not in self._tried and self._keeps(p.candidate)
        }
        if len(found) < RANDOM // 4 and self._limit is not None:  # the limits exclude most of the space: look further
            rng = np.random.default_rng([self._seed, len(history), 3])
            for _ in range(TRIED):
                p = self._prospect(self._encoder.random(rng))
                if p.candidate not in self._tried and self._keeps(p.candidate):
                    found.setdefault(p.candidate, p)
                    if len(found) >= RANDOM // 4:
                        break
        parents = self._parents(history)
        rng = np.random.default_rng([self._seed, len(history), 1])
        for i in range(NEIGHBOURS if parents else 0):
            p = self._prospect(self._encoder.neighbour(parents[i % len(parents)], rng))
            if p.candidate not in self._tried and self._keeps(p.candidate):
                found.setdefault(p.candidate, p)
        return list(found.values())

    def _parents(self, history: History) -> list[Params]:
        """Params of the front's members and of the best of those that rest."""
        done = [(c, v) for c in history if c.params and (v := final_values(c, self._objectives)) is not None]
        flags = non_dominated([v for _, v in done])
        parents = [c.params for (c, _), flag in zip(done, flags, strict=True) if flag]
        resting = [c for c in history if c.state == "resting" and c.params and UNCERTAIN in c.rungs[-1].metrics]
        resting.sort(key=lambda c: -c.rungs[-1].metrics[UNCERTAIN])
        return parents + [c.params for c in resting[:8]]

    def _keeps(self, candidate: Candidate) -> bool:
        return self._limit is None or self._limit(candidate) is None

    def _prospect(self, params: Params) -> Prospect:
        return Prospect(params, self._space.candidate(params), tuple(self._encoder.encode(params)))

    def _row(self, c: CandidateState) -> list[float]:
        if c.number not in self._encoded:
            self._encoded[c.number] = self._encoder.encode(c.params)
        return self._encoded[c.number]

    @staticmethod
    def _begun(history: History) -> int:
        return sum(not c.reference and c.state != "infeasible" for c in history)


def _effort(candidate: Candidate) -> float:
    """Training that a candidate takes to its end, in passes over the data."""
    return candidate.recipe.epochs


def _at_end(found: Sequence[Sequence[float]]) -> Array:
    """Rows for the model at the last rung."""
    return np.c_[np.array(found, dtype=np.float64), np.ones(len(found))]
