"""Limits: what a candidate may cost at most, asked before anything runs and once more of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rsopt.errors import UserError


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, None where there is none. Memory is the predicted peak of training or captioning, whichever is more."""

    params: int | None = None
    latency_ms: float | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.bounds():
            if value <= 0:
                raise UserError(f"--max-{name.replace('_', '-')} must be above 0, not {value:g}")

    def bounds(self) -> list[tuple[str, float]]:
        """(figure, bound) of those that are set."""
        found = (("params", self.params), ("latency_ms", self.latency_ms), ("memory_gb", self.memory_gb))
        return [(name, float(value)) for name, value in found if value is not None]

    def broken(self, metrics: Mapping[str, float]) -> str | None:
        """Why a measured candidate breaks a limit; figures that were not measured break none."""
        for name, bound in self.bounds():
            if metrics.get(name, 0.0) > bound:
                return breach(name, metrics[name], bound, "measured ")
        return None


def breach(name: str, value: float, bound: float, how: str) -> str:
    """The reason that a candidate carries when its figure `name` is above `bound`; `how` is "measured " or "predicted "."""
    shown = {"params": f"{value:,.0f} parameters", "latency_ms": f"{value:.2f} ms", "memory_gb": f"{value:.2f} GB"}[
        name
    ]
    limit = {"params": f"{bound:,.0f}", "latency_ms": f"{bound:g} ms", "memory_gb": f"{bound:g} GB"}[name]
    return f"limit: {how}{shown}, at most {limit} allowed"
