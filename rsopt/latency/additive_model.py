"""Additive latency model: predicts the latency of any architecture of a base from a few measured ones. No torch.

latency = vision + Q-Former + prefill + (new tokens - 1) x time of a token. Each part is a constant plus a time a layer (for
the Q-Former, of layers in whole groups), neither of them negative, and is fitted on its own, since a session measures the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from rsopt.core.variant import Architecture, BaseShape
from rsopt.latency.ledger import Entry

LEAST = 4  # entries needed to predict: the error is estimated by leaving one out
ENOUGH = 8  # entries from which architectures within the measured depths are predicted instead of measured
PARTS: dict[str, Callable[[Architecture], int]] = {
    "vision": lambda a: a.vision_layers,
    "qformer": lambda a: a.qformer_layers,
    "prefill": lambda a: a.llm_layers,
    "per_token": lambda a: a.llm_layers,
}


@dataclass(frozen=True, slots=True)
class TimedArchitecture:
    """A measured architecture: its latency and that of its parts (`PARTS`), in milliseconds."""

    architecture: Architecture
    latency_ms: float
    parts_ms: Mapping[str, float]
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """Milliseconds of one part by its depth: constant + slope x layers, measured from `shallowest` to `deepest`."""

    constant: float
    slope: float
    shallowest: int
    deepest: int

    def at(self, layers: int) -> float:
        """Returns the part's milliseconds at a depth."""
        return self.constant + self.slope * layers

    def beyond(self, layers: int) -> float | None:
        """Returns the distance of a depth from the measured range, in ranges; None where only one other depth was measured."""
        outside = max(self.shallowest - layers, layers - self.deepest, 0)
        if not outside:
            return 0.0
        return outside / (self.deepest - self.shallowest) if self.deepest > self.shallowest else None


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """A model of one context and dtype. `error` is the largest relative error on an entry that was left out of the fit."""

    lines: dict[str, Line]
    new_tokens: int
    dtype: str
    error: float
    entries: int

    @classmethod
    def fit(cls, entries: Sequence[Entry], cross_attention_frequency: int) -> LatencyModel:
        """Fits a ledger's entries. Those whose Q-Former keeps no whole groups are left out, unless there are no others.

        Raises ValueError for entries of several contexts or dtypes, and for none at all.
        """
        if not entries:
            raise ValueError("a latency model needs measured architectures")
        if any(e.context != entries[0].context or e.architecture.dtype != entries[0].architecture.dtype for e in entries):
            raise ValueError("a latency model is of one device, protocol and dtype; these entries are of several")
        return cls.of(whole_groups(entries, cross_attention_frequency) or [_timing(e) for e in entries])

    @classmethod
    def of(cls, measured: Sequence[TimedArchitecture]) -> LatencyModel:
        """Fits architectures of one context and dtype, at least one."""
        measured = list(measured)
        new_tokens = measured[0].new_tokens
        errors = []
        for index, one in enumerate(measured):
            rest = measured[:index] + measured[index + 1 :]
            if len(rest) >= 2:
                predicted = _time(_lines(rest), new_tokens, one.architecture)
                errors.append(abs(predicted - one.latency_ms) / one.latency_ms)
        dtype = measured[0].architecture.dtype
        return cls(_lines(measured), new_tokens, dtype, max(errors, default=np.inf), len(measured))

    def covers(self, architecture: Architecture) -> bool:
        """Whether enough was measured to predict this architecture, at depths that enclose its own."""
        within = (line.beyond(PARTS[name](architecture)) == 0.0 for name, line in self.lines.items())
        return self.entries >= ENOUGH and architecture.dtype == self.dtype and all(within)

    def predict(self, architecture: Architecture) -> tuple[float, float] | None:
        """Returns latency and its stated error in ms, or None where the entries do not allow a prediction.

        Beyond the measured depths the error grows with the distance.
        """
        if architecture.dtype != self.dtype or self.entries < LEAST:
            return None
        beyond = [line.beyond(PARTS[name](architecture)) for name, line in self.lines.items()]
        if any(distance is None for distance in beyond):
            return None
        latency_ms = _time(self.lines, self.new_tokens, architecture)
        return latency_ms, latency_ms * self.error * (1 + max(d for d in beyond if d is not None))


def whole_groups(entries: Sequence[Entry], cross_attention_frequency: int) -> list[TimedArchitecture]:
    """Returns the entries whose Q-Former keeps whole groups: a layer with cross-attention and those without after it."""
    return [
        _timing(entry)
        for entry in entries
        if entry.architecture.qformer_layers == cross_attention_frequency * (entry.architecture.cross_layers or 0)
    ]


def _timing(entry: Entry) -> TimedArchitecture:
    latency = entry.latency
    return TimedArchitecture(entry.architecture, latency.latency_ms, latency.parts_ms, latency.new_tokens)


def design(shape: BaseShape) -> list[tuple[int, int, int]]:
    """Returns about eight (vision, Q-Former, LLM) depths whose latencies predict those of all others of the base."""
    every = shape.cross_attention_frequency
    groups = max(1, shape.qformer_layers // every)

    def depths(vision: float, qformer: float, llm: float) -> tuple[int, int, int]:
        return (
            max(1, round(vision * shape.vision_layers)),
            min(shape.qformer_layers, max(1, round(qformer * groups)) * every),
            max(1, round(llm * shape.llm_layers)),
        )

    shares = (
        (1.0, 1.0, 1.0),
        (1.0, 1 / 3, 0.5),
        (1.0, 1.0, 0.5),
        (1.0, 1 / 3, 1.0),
        (1.0, 2 / 3, 0.75),
        (0.75, 1.0, 0.75),
        (0.75, 2 / 3, 0.625),
        (1.0, 2 / 3, 0.875),
    )
    return list(dict.fromkeys(depths(*share) for share in shares))


def _lines(measured: Sequence[TimedArchitecture]) -> dict[str, Line]:
    """Fits a line to every part by non-negative least squares; a part measured at one depth has slope 0."""
    lines = {}
    for name, depth in PARTS.items():
        x = np.array([depth(one.architecture) for one in measured], dtype=float)
        y = np.array([one.parts_ms[name] for one in measured])
        columns = [np.ones_like(x), x] if np.ptp(x) else [np.ones_like(x)]
        constant, *slope = (float(value) for value in nnls(np.stack(columns, axis=1), y)[0])
        lines[name] = Line(constant, slope[0] if slope else 0.0, int(x.min()), int(x.max()))
    return lines


def _time(lines: dict[str, Line], new_tokens: int, architecture: Architecture) -> float:
    parts = {name: line.at(PARTS[name](architecture)) for name, line in lines.items()}
    return parts["vision"] + parts["qformer"] + parts["prefill"] + (new_tokens - 1) * parts["per_token"]
