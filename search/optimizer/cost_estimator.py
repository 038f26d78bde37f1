"""Estimates what a candidate costs before it runs, from an exact cost model and from what the study has measured. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement, Objective
from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel, TimedArchitecture
from search.study.history import CandidateState, History
from search.study.latencies import is_measured, timed_architecture

# Exact costs of a candidate (params, gmacs, memory_gb, ...), known without running it; those that are not known are absent.
Costs = Callable[[Candidate], Mapping[str, float]]
MODELLED_OBJECTIVE = "cider"  # the one objective that is not a cost: a model predicts it
# Costs that depend on the architecture alone; the others depend on LoRA or recipe as well.
ARCHITECTURE_COSTS = ("latency_ms", "params", "size_mb", "gmacs", "captions_per_s")
CACHED = 50_000  # candidates whose exact costs are kept


@dataclass(frozen=True, slots=True)
class _Measured:
    """A cost as trial `trial` measured it (-1: recorded before the study).

    `ratio` is the value divided by the candidate's compute; NaN for a captioner whose compute does not scale like the base's.
    """

    trial: int
    value: float
    ratio: float


class CostEstimator:
    """Costs of any candidate: the objectives that need not be predicted by a surrogate.

    In this order: the exact cost; the cost measured of the same architecture (or candidate); for latency the additive model
    of those measured, once it can predict, then one that a worker predicted or that was disturbed; else the measured costs
    scaled by compute. `recorded` latencies count as measured. In a study that measured nothing a cost is the compute itself:
    only proportions are meaningful then.
    """

    def __init__(
        self, objectives: Sequence[Objective], exact: Costs | None = None, recorded: Sequence[TimedArchitecture] = ()
    ) -> None:
        self.objectives = tuple(objectives)
        self._cost_objectives = tuple(o for o in objectives if o.name != MODELLED_OBJECTIVE)
        self._exact, self._recorded = exact, tuple(recorded)
        self._exact_costs: dict[Candidate, Mapping[str, float]] = {}
        self._minimised: dict[Candidate, list[float]] = {}  # as of the last `learn`
        self.version = 0  # goes up whenever an estimate may have changed
        self._learned: dict[int, tuple[Measurement, ...]] = {}  # by trial
        self._measured: dict[str, dict[object, _Measured]] = {}
        self._provisional: dict[object, tuple[float, float]] = {}  # latencies, with error, of sessions that do not count
        self._timed: dict[Architecture, tuple[int, TimedArchitecture]] = {}  # with the trial that measured it
        self._scale: dict[str, float] = {}
        self._latency: LatencyModel | None = None
        self._reset()

    def learn(self, history: History) -> None:
        """Adds what was measured since the last call. Starts again where the history has become shorter or was corrected."""
        rungs = {c.number: c.rungs for c in history if c.rungs}
        if any(rungs.get(number, ())[: len(before)] != before for number, before in self._learned.items()):
            self._reset()
        changed_trials = [number for number, now in rungs.items() if len(self._learned.get(number, ())) != len(now)]
        self._learned = rungs
        changed = {name for number in changed_trials for name in self._add(history[number])}
        if not changed:
            return
        for name in changed:
            ratios = [m.ratio for m in self._measured[name].values() if m.trial >= 0 and math.isfinite(m.ratio)]
            self._scale[name] = float(np.median(ratios)) if ratios else 1.0
        if "latency_ms" in changed:
            timed = [entry for _, entry in self._timed.values()]
            self._latency = LatencyModel.of(timed) if timed else None
        self._minimised.clear()
        self.version += 1

    def estimate(self, name: str, candidate: Candidate) -> tuple[float, float]:
        """Returns a cost and its error in the same unit: 0 if exact or measured, NaN if only proportional to compute."""
        exact = self._exact_of(candidate).get(name)
        if exact is not None:
            return exact, 0.0
        measured = self._measured.get(name, {}).get(_key(name, candidate))
        if measured is not None:
            return measured.value, 0.0
        if candidate.baseline is not None:
            return 0.0, math.nan  # another kind of captioner: nothing is known before it ran
        if name == "latency_ms" and self._latency is not None:
            predicted = self._latency.predict(candidate.variant.architecture())
            if predicted is not None:
                return predicted
        if name == "latency_ms" and (provisional := self._provisional.get(_key(name, candidate))) is not None:
            return provisional
        return self._scale.get(name, 1.0) * self._compute(name, candidate), math.nan

    def minimised_costs(self, candidate: Candidate) -> list[float]:
        """Returns estimates of all objectives but the modelled one, to be minimised, in the objectives' order."""
        costs = self._minimised.get(candidate)
        if costs is None:
            costs = [o.minimised(self.estimate(o.name, candidate)[0]) for o in self._cost_objectives]
            self._minimised[candidate] = costs
        return costs

    def has_measured(self, name: str) -> bool:
        """Whether this cost was measured for any candidate."""
        return bool(self._measured.get(name))

    def _reset(self) -> None:
        """Forgets everything but the recorded latencies."""
        self._learned, self._scale, self._provisional = {}, {}, {}
        self._measured = {name: {} for name in {*(o.name for o in self._cost_objectives), "latency_ms"}}
        for entry in self._recorded:
            self._measured["latency_ms"][entry.architecture] = _Measured(-1, entry.latency_ms, 0.0)
        self._timed = {entry.architecture: (-1, entry) for entry in self._recorded}
        self._latency = LatencyModel.of(self._recorded) if self._recorded else None
        self._minimised.clear()
        self.version += 1

    def _add(self, c: CandidateState) -> set[str]:
        """Adds one candidate; returns the costs that it changed. The lowest trial counts, in whatever order legs end."""
        changed = set()
        for name, measured in self._measured.items():
            # An architecture's costs are those of its first leg; the others belong to a whole training.
            measurement = c.rungs[0] if name in ARCHITECTURE_COSTS else c.final
            value = measurement.metrics.get(name, math.nan) if measurement else math.nan
            key = _key(name, c.candidate)
            if measurement and name == "latency_ms" and math.isfinite(value) and not is_measured(measurement.metrics):
                self._provisional[key] = value, measurement.metrics.get("latency_error_ms", math.nan)
                changed.add(name)
                continue
            if math.isfinite(value) and (key not in measured or c.number < measured[key].trial):
                ratio = math.nan if c.candidate.baseline else value / self._compute(name, c.candidate)
                measured[key] = _Measured(c.number, value, ratio)
                changed.add(name)
        entry = timed_architecture(c)
        if entry is not None and c.number < self._timed.get(entry.architecture, (math.inf, entry))[0]:
            self._timed[entry.architecture] = (c.number, entry)
            changed.add("latency_ms")
        return changed

    def _exact_of(self, candidate: Candidate) -> Mapping[str, float]:
        if self._exact is None:
            return {}
        if candidate not in self._exact_costs:
            if len(self._exact_costs) > CACHED:
                self._exact_costs.clear()
            self._exact_costs[candidate] = self._exact(candidate)
        return self._exact_costs[candidate]

    def _compute(self, name: str, candidate: Candidate) -> float:
        """What a cost is roughly proportional to."""
        architecture = candidate.variant.architecture()
        layers = architecture.vision_layers + architecture.qformer_layers + architecture.llm_layers
        compute = self._exact_of(candidate).get("gmacs") or float(layers)
        if name == "captions_per_s":
            return 1 / compute
        return compute * candidate.recipe.epochs if name == "train_s" else compute


def _key(name: str, candidate: Candidate) -> object:
    of_layers = name in ARCHITECTURE_COSTS and candidate.baseline is None
    return candidate.variant.architecture() if of_layers else candidate
