"""Replays a recorded table through the real search and its schedulers, in simulated time."""

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
from search.simulation.event_loop import Finished, Lost, Outcome, Worker, simulate
from search.simulation.recording import Recording
from search.study.limits import Limits

STRAGGLE = 10.0  # times slower


@dataclass(frozen=True, slots=True)
class Disturbances:
    """Shares of legs that are stragglers (ten times slower) and that infrastructure loses half way."""

    stragglers: float = 0.0
    losses: float = 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """One search to replay. `budget` is in full trials' worth of trained samples; `trials`, if set, also caps candidates."""

    sampler: str
    schedule: str | None
    workers: int = 1
    budget: float = 60.0
    trials: int | None = None
    limits: Limits = field(default_factory=Limits)
    disturbances: Disturbances = field(default_factory=Disturbances)


@dataclass(frozen=True, slots=True)
class Curve:
    """Progress of a search after each leg: compute in full trials, simulated seconds, shares of the true front's hypervolume."""

    compute: list[float] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def to_reach(self, share: float) -> float:
        """Returns the compute at which the share was reached on the validation split; infinite if it never was."""
        return next((c for c, v in zip(self.compute, self.val, strict=True) if v >= share), float("inf"))

    def at(self, compute: float, split: str = "val") -> float:
        """Returns the share reached with this compute."""
        values = self.val if split == "val" else self.test
        return max((v for c, v in zip(self.compute, values, strict=True) if c <= compute), default=0.0)


def worker_of(recording: Recording, disturbances: Disturbances) -> Worker:
    """Returns a worker that looks legs up in the table."""

    def look_up(leg: Leg, rng: np.random.Generator) -> tuple[float, Outcome]:
        row = recording.row(leg.candidate)
        last = recording.rungs.index(leg.stop)
        seconds = recording.seconds(leg)
        draw = rng.random()
        if draw < disturbances.stragglers:
            seconds *= STRAGGLE
        elif draw < disturbances.stragglers + disturbances.losses:
            return seconds / 2, Lost()
        if last >= len(row.cider):
            return seconds, Fault(leg.stop, "exception", row.fault or "not recorded")
        return seconds, Measurement(leg.stop, recording.metrics(leg.candidate, last), {"train": seconds})

    return look_up


class BudgetedSearch:
    """A search that returns no more legs once the samples of its legs reach the budget."""

    def __init__(self, search: Search, samples: Callable[[Leg], float], budget: float) -> None:
        self._search, self._samples, self._left = search, samples, budget
        self._over = False

    def ask(self) -> Leg | None:
        """Returns the next leg while budget is left."""
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
    """Replays one search over the table. The same arguments give the same curve."""
    with tempfile.TemporaryDirectory() as folder:
        search = open_search(recording, setup, seed, Path(folder) / "study")
        budgeted = BudgetedSearch(search, recording.samples, setup.budget * recording.full_trial)
        ended = simulate(budgeted, setup.workers, worker_of(recording, setup.disturbances), seed)
        search.close()
    return curve_of(recording, ended, setup.limits)


def open_search(recording: Recording, setup: Setup, seed: int, folder: Path) -> Search:
    """Returns the real search over a table's space; its exact costs are the recorded ones."""
    estimator = CostEstimator(recording.objectives, recording.costs)
    optimizer = make_optimizer(setup.sampler, setup.schedule, recording.bound, seed, estimator, setup.limits)
    trials = setup.trials or 10**9
    settings = SearchSettings(recording.objectives, recording.rungs, seed, trials, setup.workers, setup.limits)
    return Search(folder, recording.bound, settings, optimizer)


def curve_of(recording: Recording, ended: Iterable[Finished], limits: Limits = Limits()) -> Curve:  # noqa: B008 - frozen
    """Returns shares of the true feasible front's hypervolume after every leg. The untuned base is on no front here."""
    is_feasible = feasible(recording, limits)
    references = {split: recording.reference(split) for split in ("val", "test")}
    volumes = {split: recording.true_volume(split, is_feasible) for split in references}
    points: dict[str, list[tuple[float, ...]]] = {split: [] for split in references}
    reached, compute = dict.fromkeys(references, 0.0), 0.0
    curve = Curve()
    for item in ended:
        candidate = item.leg.candidate
        compute += recording.samples(item.leg) / recording.full_trial
        if isinstance(item.outcome, Measurement) and item.leg.last and is_feasible(candidate):
            for split, front in points.items():
                if (values := recording.final(candidate, split)) is not None:
                    front.append(values)
                    reached[split] = hypervolume(np.array(front), references[split]) / volumes[split]
        curve.compute.append(compute)
        curve.time_s.append(item.end_s)
        curve.val.append(reached["val"])
        curve.test.append(reached["test"])
    return curve


def feasible(recording: Recording, limits: Limits) -> Callable[[Candidate], bool]:
    """Returns a check whether a candidate keeps the limits with its recorded costs."""

    def is_feasible(candidate: Candidate) -> bool:
        row = recording.row(candidate)
        latency = {} if row.latency_ms is None else {"latency_ms": row.latency_ms}
        return limits.broken({**row.figures, **latency}) is None

    return is_feasible
