"""What is known of a candidate before it runs: exact figures where there is a cost model, else what this study measured tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from rsopt.objectives import Objective
from rsopt.recipe import Candidate
from rsopt.variant import Architecture
from search.history import History

# Figures of a candidate that are known without running it (params, gmacs, memory_gb, ...); what is not known is absent.
Costs = Callable[[Candidate], Mapping[str, float]]
UNCERTAIN = "cider"
ENOUGH = 4  # measured architectures from which on a latency is fitted over depths, not scaled by compute
# Figures that architecture alone decides; the others depend on LoRA or recipe as well.
OF_ARCHITECTURE = ("latency_ms", "params", "size_mb", "gmacs")


class LatencyPredictor(Protocol):
    """Latency of an architecture that was not measured: (ms, stated error in ms), or None if it cannot say."""

    def predict(self, architecture: Architecture) -> tuple[float, float] | None: ...


# Fits a predictor to measured latencies in milliseconds.
Fit = Callable[[Mapping[Architecture, float]], LatencyPredictor]


class DepthFit:
    """Linear least squares over the three depths; silent below `ENOUGH` architectures. The stand-in for a better model."""

    def __init__(self, measured: Mapping[Architecture, float]) -> None:
        self._weights = None
        if len(measured) >= ENOUGH:
            depths = np.array([_depths(a) for a in measured])
            values = np.array(list(measured.values()))
            self._center, self._mean = depths.mean(axis=0), float(values.mean())
            self._weights = np.linalg.lstsq(depths - self._center, values - self._mean, rcond=1e-9)[0]
            fitted = self._mean + (depths - self._center) @ self._weights
            self._error = float(np.sqrt(np.mean((values - fitted) ** 2)))

    def predict(self, architecture: Architecture) -> tuple[float, float] | None:
        """Fitted latency and the fit's root mean square error, in milliseconds."""
        if self._weights is None:
            return None
        value = self._mean + float((np.array(_depths(architecture)) - self._center) @ self._weights)
        return (value, self._error) if value > 0 else None


class Estimates:
    """Values of the objectives that are taken as known, for any candidate, from figures and a history. No clock, no files.

    In this order: the exact figure; what was measured of the same architecture (or candidate); for latencies the fit; else
    the measured ones scaled by compute. `recorded` latencies (ms) count as measured. A study that measured nothing gets the
    compute itself: then only proportions matter.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        costs: Costs | None = None,
        fit: Fit = DepthFit,
        recorded: Mapping[Architecture, float] | None = None,
    ) -> None:
        self.objectives = tuple(objectives)
        self.names = tuple(o.name for o in objectives if o.name != UNCERTAIN)
        self._costs, self._fit, self._recorded = costs, fit, dict(recorded or {})
        self._figures: dict[Candidate, dict[str, float]] = {}
        self._known: dict[Candidate, list[float]] = {}  # as of what was last learned
        self._at: tuple[int, ...] | None = None
        self._measured: dict[str, dict[object, float]] = {}
        self._scale: dict[str, float] = {}
        self._predictor: LatencyPredictor | None = None

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
        """Take up what was measured. Cheap when nothing new was."""
        done = tuple(c.number for c in history if c.state == "complete")
        if done == self._at:
            return
        self._at = done
        self._known.clear()
        names = {*self.names, "latency_ms"}
        self._measured = {name: {} for name in names}
        for architecture, value in self._recorded.items():
            self._measured["latency_ms"][architecture] = value
        ratios: dict[str, list[float]] = {name: [] for name in names}
        for number in done:
            state = history[number]
            assert state.final is not None
            for name in names:
                value = state.final.metrics.get(name, math.nan)
                if not math.isfinite(value):
                    continue
                # The first measurement counts, as in the ledger.
                first = self._measured[name].setdefault(_key(name, state.candidate), value)
                if first == value:
                    ratios[name].append(value / self._compute(name, state.candidate))
        self._scale = {name: float(np.median(found)) for name, found in ratios.items() if found}
        measured = {a: v for a, v in self._measured["latency_ms"].items() if isinstance(a, Architecture)}
        self._predictor = self._fit(measured)

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
            return measured, 0.0
        if name == "latency_ms" and self._predictor is not None:
            found = self._predictor.predict(candidate.variant.architecture())
            if found is not None:
                return found
        return self._scale.get(name, 1.0) * self._compute(name, candidate), math.nan

    def known(self, candidate: Candidate) -> list[float]:
        """Values of all objectives but the uncertain one, minimised, in their order."""
        found = self._known.get(candidate)
        if found is None:
            found = [o.minimised(self.figure(o.name, candidate)[0]) for o in self.objectives if o.name != UNCERTAIN]
            self._known[candidate] = found
        return found

    def _compute(self, name: str, candidate: Candidate) -> float:
        """What a figure is roughly proportional to."""
        compute = self.figures(candidate).get("gmacs") or float(sum(_depths(candidate.variant.architecture())))
        return compute * candidate.recipe.epochs if name == "train_s" else compute


def _key(name: str, candidate: Candidate) -> object:
    return candidate.variant.architecture() if name in OF_ARCHITECTURE else candidate


def _depths(architecture: Architecture) -> tuple[float, float, float]:
    return float(architecture.vision_layers), float(architecture.qformer_layers), float(architecture.llm_layers)
