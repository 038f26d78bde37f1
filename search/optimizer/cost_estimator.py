"""What is known of a candidate before it runs: exact figures where there is a cost model, else what this study measured tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Objective
from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import PARTS, LatencyModel, TimedArchitecture
from search.study.history import CandidateState, History

# Figures of a candidate that are known without running it (params, gmacs, memory_gb, ...); what is not known is absent.
Costs = Callable[[Candidate], Mapping[str, float]]
MODELLED_OBJECTIVE = "cider"
# Figures that architecture alone decides; the others depend on LoRA or recipe as well.
OF_ARCHITECTURE = ("latency_ms", "params", "size_mb", "gmacs", "captions_per_s")


@dataclass(frozen=True, slots=True)
class _Measured:
    """A figure as trial `trial` (-1: recorded before) measured it; how many times its compute that is (NaN: no use to others)."""

    trial: int
    value: float
    ratio: float


class CostEstimator:
    """Values of the objectives that are taken as known, for any candidate, from figures and a history. No clock, no files.

    In this order: the exact figure; what was measured of the same architecture (or candidate); for latencies the additive
    model of those measured, as soon as it can say something; else the measured ones scaled by compute. `recorded` latencies
    count as measured. A study that measured nothing gets the compute itself: then only proportions matter.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        costs: Costs | None = None,
        recorded: Sequence[TimedArchitecture] = (),
    ) -> None:
        self.objectives = tuple(objectives)
        self.names = tuple(o.name for o in objectives if o.name != MODELLED_OBJECTIVE)
        self._costs, self._recorded = costs, tuple(recorded)
        self._figures: dict[Candidate, dict[str, float]] = {}
        self._known: dict[Candidate, list[float]] = {}  # as of what was last learned
        self.version = 0  # goes up whenever a known value may have changed
        self._legs: dict[int, int] = {}  # trial -> legs that were learned
        self._measured: dict[str, dict[object, _Measured]] = {}
        self._timed: dict[Architecture, tuple[int, TimedArchitecture]] = {}  # by (trial, ...)
        self._scale: dict[str, float] = {}
        self._latency: LatencyModel | None = None
        self._forget()

    def figures(self, candidate: Candidate) -> Mapping[str, float]:
        """What the cost model says; looked up once a candidate."""
        if self._costs is None:
            return {}
        if candidate not in self._figures:
            if len(self._figures) > 50_000:
                self._figures.clear()
            self._figures[candidate] = dict(self._costs(candidate))
        return self._figures[candidate]

    def learn(self, history: History) -> None:
        """Take up what was measured since the last time; all of it again where the history is shorter."""
        legs = {c.number: len(c.rungs) for c in history if c.rungs}
        if any(legs.get(number, 0) < count for number, count in self._legs.items()):
            self._forget()
        news = [number for number, count in legs.items() if self._legs.get(number) != count]
        self._legs = legs
        changed = {name for number in news for name in self._learn(history[number])}
        if not changed:
            return
        for name in changed:
            ratios = [one.ratio for one in self._measured[name].values() if one.trial >= 0 and math.isfinite(one.ratio)]
            self._scale[name] = float(np.median(ratios)) if ratios else 1.0
        if "latency_ms" in changed:
            timed = [one for _, one in self._timed.values()]
            self._latency = LatencyModel.of(timed) if timed else None
        self._known.clear()
        self.version += 1

    def _forget(self) -> None:
        """Know what was recorded beforehand, and nothing that this study measured."""
        self._legs, self._scale = {}, {}
        self._measured = {name: {} for name in {*self.names, "latency_ms"}}
        for one in self._recorded:
            self._measured["latency_ms"][one.architecture] = _Measured(-1, one.latency_ms, 0.0)
        self._timed = {one.architecture: (-1, one) for one in self._recorded}
        self._latency = LatencyModel.of(list(self._recorded)) if self._recorded else None
        self._known.clear()
        self.version += 1

    def _learn(self, c: CandidateState) -> set[str]:
        """Take up one candidate; which figures it changed. The lowest trial counts, whenever it was told."""
        changed = set()
        for name, known in self._measured.items():
            # An architecture's figures are those of its first leg; the others belong to a whole training.
            measurement = c.rungs[0] if name in OF_ARCHITECTURE else c.final
            value = measurement.metrics.get(name, math.nan) if measurement else math.nan
            key = _key(name, c.candidate)
            if math.isfinite(value) and (key not in known or c.number < known[key].trial):
                # Another kind of captioner says nothing of what the base's layers cost.
                ratio = math.nan if c.candidate.baseline else value / self._compute(name, c.candidate)
                known[key] = _Measured(c.number, value, ratio)
                changed.add(name)
        one = timed_of(c)
        if one is not None and c.number < self._timed.get(one.architecture, (math.inf, one))[0]:
            self._timed[one.architecture] = (c.number, one)
            changed.add("latency_ms")
        return changed

    def measured_any(self, name: str) -> bool:
        """Whether this study measured the figure of any candidate."""
        return bool(self._measured.get(name))

    def figure(self, name: str, candidate: Candidate) -> tuple[float, float]:
        """A figure and its stated error (0: exact or measured; NaN: proportional to compute, no more)."""
        exact = self.figures(candidate).get(name)
        if exact is not None:
            return exact, 0.0
        measured = self._measured.get(name, {}).get(_key(name, candidate))
        if measured is not None:
            return measured.value, 0.0
        if candidate.baseline is not None:
            return 0.0, math.nan  # another kind of captioner: nothing is known of it before it ran
        if name == "latency_ms" and self._latency is not None:
            found = self._latency.predict(candidate.variant.architecture())
            if found is not None:
                return found
        return self._scale.get(name, 1.0) * self._compute(name, candidate), math.nan

    def known(self, candidate: Candidate) -> list[float]:
        """Values of all objectives but the uncertain one, minimised, in their order."""
        found = self._known.get(candidate)
        if found is None:
            found = [
                o.minimised(self.figure(o.name, candidate)[0]) for o in self.objectives if o.name != MODELLED_OBJECTIVE
            ]
            self._known[candidate] = found
        return found

    def _compute(self, name: str, candidate: Candidate) -> float:
        """What a figure is roughly proportional to."""
        compute = self.figures(candidate).get("gmacs") or float(sum(_depths(candidate.variant.architecture())))
        if name == "captions_per_s":
            return 1 / compute
        return compute * candidate.recipe.epochs if name == "train_s" else compute


def timed_of(c: CandidateState) -> TimedArchitecture | None:
    """The latency that a candidate's first leg measured, with its parts; None where it measured none."""
    if c.candidate.baseline is not None:
        return None  # not of the base's layers
    metrics = c.rungs[0].metrics
    parts = {name: metrics.get(f"latency_{name}_ms", math.nan) for name in PARTS}
    if not all(map(math.isfinite, parts.values())) or not parts["per_token"] > 0:
        return None  # predicted for another device, or a study without latencies
    first = parts["vision"] + parts["qformer"] + parts["prefill"]
    new_tokens = 1 + round((metrics["latency_ms"] - first) / parts["per_token"])
    return TimedArchitecture(c.candidate.variant.architecture(), metrics["latency_ms"], parts, new_tokens)


def _key(name: str, candidate: Candidate) -> object:
    of_layers = name in OF_ARCHITECTURE and candidate.baseline is None
    return candidate.variant.architecture() if of_layers else candidate


def _depths(architecture: Architecture) -> tuple[float, float, float]:
    return float(architecture.vision_layers), float(architecture.qformer_layers), float(architecture.llm_layers)
