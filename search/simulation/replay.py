"""Replay: a recorded table through the very search and policies of the real thing, in simulated time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.optimizer.pareto import hypervolume
from search.simulation.event_loop import Finished, Lost, Outcome, simulate
from search.simulation.recording import Recording
from search.study.limits import Limits

STRAGGLE = 10.0  # times slower


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong: shares of legs that straggle (ten times slower) and that infrastructure loses half way."""

    stragglers: float = 0.0
    losses: float = 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """One cell of a matrix. `budget` is in full trials' worth of trained samples; `trials` caps candidates instead, if set."""

    sampler: str
    schedule: str | None
    workers: int = 1
    budget: float = 60.0
    trials: int | None = None
    limits: Limits = field(default_factory=Limits)
    weather: Weather = field(default_factory=Weather)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run reached by when: compute in full trials, simulated seconds, shares of the true front's hypervolume."""

    compute: list[float] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def to_reach(self, share: float) -> float:
        """Compute at which the share was reached on the validation split; infinite if it never was."""
        return next((c for c, v in zip(self.compute, self.val, strict=True) if v >= share), float("inf"))

    def at(self, compute: float, split: str = "val") -> float:
        """The share reached by then."""
        values = self.val if split == "val" else self.test
        return max((v for c, v in zip(self.compute, values, strict=True) if c <= compute), default=0.0)


def worker_of(recording: Recording, weather: Weather) -> Callable[[Leg, np.random.Generator], tuple[float, Outcome]]:
    """What a worker does with a leg: look it up."""

    def run(leg: Leg, rng: np.random.Generator) -> tuple[float, Outcome]:
        row = recording.row(leg.candidate)
        last = recording.rungs.index(leg.stop)
        seconds = recording.seconds(leg)
        luck = rng.random()
        if luck < weather.stragglers:
            seconds *= STRAGGLE
        elif luck < weather.stragglers + weather.losses:
            return seconds / 2, Lost()
        if last >= len(row.cider):
            return seconds, Fault(leg.stop, "exception", row.fault or "not recorded")
        return seconds, Measurement(leg.stop, recording.metrics(leg.candidate, last), {"train": seconds})

    return run


class Rationed:
    """A search that hands out no more once the samples of its legs reach the budget: then what is in flight ends, and no more."""

    def __init__(self, search: Search, samples: Callable[[Leg], float], budget: float) -> None:
        self._search, self._samples, self._left = search, samples, budget
        self._over = False

    def ask(self) -> Leg | None:
        """The next leg while there is budget for any."""
        if self._left <= 1e-9:
            self._over = True
            return None
        leg = self._search.ask()
        if leg is not None:
            self._left -= self._samples(leg)
        return leg

    def tell(self, leg: Leg, outcome: Measurement | Fault) -> None:
        """See `Search.tell`."""
        self._search.tell(leg, outcome)

    def report_lost(self, leg: Leg) -> None:
        """See `Search.report_lost`."""
        self._search.report_lost(leg)

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the search has ended."""
        return self._over or self._search.done


def replay(recording: Recording, setup: Setup, seed: int) -> Curve:
    """Run one search over the table. The same arguments give the same curve."""
    with tempfile.TemporaryDirectory() as folder:
        search = open_search(recording, setup, seed, Path(folder) / "study")
        rationed = Rationed(search, recording.samples, setup.budget * recording.full_trial)
        ended = simulate(rationed, setup.workers, worker_of(recording, setup.weather), seed)
        search.close()
    return curve_of(recording, ended, setup.limits)


def open_search(recording: Recording, setup: Setup, seed: int, folder: Path) -> Search:
    """The real search over a table's space, its costs looked up in the table."""
    estimator = CostEstimator(recording.objectives, recording.costs)
    optimizer = make_optimizer(setup.sampler, setup.schedule, recording.bound, seed, estimator, setup.limits)
    trials = setup.trials or 10**9
    settings = SearchSettings(recording.objectives, recording.rungs, seed, trials, setup.workers, setup.limits)
    return Search(folder, recording.bound, settings, optimizer)


def curve_of(recording: Recording, ended: Iterable[Finished], limits: Limits = Limits()) -> Curve:  # noqa: B008 - frozen
    """Shares of the true feasible front's hypervolume, after every leg that ended. The untuned base is on no front here."""
    keeps = feasible(recording, limits)
    corners = {split: recording.corner(split) for split in ("val", "test")}
    whole = {split: recording.best(split, keeps) for split in corners}
    points: dict[str, list[tuple[float, ...]]] = {split: [] for split in corners}
    reached, compute = dict.fromkeys(corners, 0.0), 0.0
    curve = Curve()
    for item in ended:
        candidate = item.leg.candidate
        compute += recording.samples(item.leg) / recording.full_trial
        if isinstance(item.outcome, Measurement) and item.leg.last and keeps(candidate):
            for split, found in points.items():
                if (values := recording.final(candidate, split)) is not None:
                    found.append(values)
                    reached[split] = hypervolume(np.array(found), corners[split]) / whole[split]
        curve.compute.append(compute)
        curve.time_s.append(item.end_s)
        curve.val.append(reached["val"])
        curve.test.append(reached["test"])
    return curve


def feasible(recording: Recording, limits: Limits) -> Callable[[Candidate], bool]:
    """Whether a recorded candidate keeps the limits by what was recorded of it."""

    def keeps(candidate: Candidate) -> bool:
        row = recording.row(candidate)
        figures = {**row.figures, **({} if row.latency_ms is None else {"latency_ms": row.latency_ms})}
        return limits.broken(figures) is None

    return keeps
