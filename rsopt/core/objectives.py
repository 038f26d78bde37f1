"""Objectives: which metric is maximised or minimised, and its unit. Optimizers minimise `minimised`. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric to optimise; `exact` if it follows from a candidate without a measurement.

    The coordinate of the hypervolume's reference point is `reference_factor` times the value of the base with LoRA at full depth.
    """

    name: str
    direction: Literal["max", "min"]
    unit: str
    reference_factor: float
    exact: bool = False

    def minimised(self, value: float) -> float:
        """Returns the value with the sign under which smaller is better. It is its own inverse."""
        return -value if self.direction == "max" else value


# A pruned variant never costs more than full depth, so 1.1 leaves room for noise; ranks and training time can exceed it.
OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective("cider", "max", "x100", 0.0),
        Objective("latency_ms", "min", "ms", 1.1),
        Objective("params", "min", "parameters", 1.1, exact=True),
        Objective("trainable", "min", "parameters", 4.0, exact=True),
        Objective("size_mb", "min", "MB", 1.1, exact=True),
        Objective("gmacs", "min", "GMAC", 1.1, exact=True),
        Objective("train_s", "min", "s", 2.0),
        Objective("captions_per_s", "max", "images/s", 0.0),
    )
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """Result of a leg.

    `rung` is the share of the training budget spent. `metrics` have their units in their names; those not measured are absent.
    `seconds` is the wall time of the leg by part.
    """

    rung: float
    metrics: dict[str, float]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the arguments of Measurement."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure caused by the candidate (NaN, garbage captions, exception, memory): why it has no measurement at `rung`."""

    rung: float
    kind: Literal["nan", "garbage", "exception", "memory"]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the arguments of Fault."""
        return asdict(self)


def minimised(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> tuple[float, ...] | None:
    """Returns the objectives' values, all to be minimised, or None if one is missing or not finite."""
    values = tuple(o.minimised(metrics.get(o.name, math.nan)) for o in objectives)
    return values if all(map(math.isfinite, values)) else None
