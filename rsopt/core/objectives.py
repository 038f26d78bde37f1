"""Objectives: the one place that knows which metric is maximised, in which unit. Inside, everything minimises. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric to optimise. `reference_factor` times the full-depth LoRA base's value is the reference point's coordinate."""

    name: str
    direction: Literal["max", "min"]
    unit: str
    reference_factor: float

    def minimised(self, value: float) -> float:
        """The value with the sign under which smaller is better; its own inverse."""
        return -value if self.direction == "max" else value


# A pruned variant never costs more than full depth, so 1.1 leaves room for noise; ranks and training time can exceed it.
OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective("cider", "max", "x100", 0.0),
        Objective("latency_ms", "min", "ms", 1.1),
        Objective("params", "min", "parameters", 1.1),
        Objective("trainable", "min", "parameters", 4.0),
        Objective("size_mb", "min", "MB", 1.1),
        Objective("gmacs", "min", "GMAC", 1.1),
        Objective("train_s", "min", "s", 2.0),
        Objective("captions_per_s", "max", "images/s", 0.0),
    )
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a leg found. `metrics` holds numbers with units in their names; one that was not measured is absent.

    `rung` is the share of the training budget spent, `seconds` where the wall time of the leg went.
    """

    rung: float
    metrics: dict[str, float]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `Measurement(**data)` gives the same measurement back."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """A candidate's own failure (NaN, garbage captions, exception): why it has no measurement at `rung`."""

    rung: float
    kind: Literal["nan", "garbage", "exception", "memory"]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `Fault(**data)` gives the same fault back."""
        return asdict(self)


def minimised(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> tuple[float, ...] | None:
    """Objective values, all to be minimised; None if one is missing or not finite."""
    values = tuple(o.minimised(metrics.get(o.name, math.nan)) for o in objectives)
    return values if all(map(math.isfinite, values)) else None
