"""Limits of a candidate's costs. They are checked on predictions before it runs and on measurements at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rsopt.errors import UserError


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, None where there is none. Memory is the predicted peak of training or captioning, whichever is higher."""

    params: int | None = None
    latency_ms: float | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.bounds():
            if value <= 0:
                raise UserError(f"--max-{name.replace('_', '-')} must be above 0, not {value:g}")

    def bounds(self) -> list[tuple[str, float]]:
        """Returns (cost, bound) of the bounds that are set."""
        bounds = (("params", self.params), ("latency_ms", self.latency_ms), ("memory_gb", self.memory_gb))
        return [(name, float(value)) for name, value in bounds if value is not None]

    def broken(self, metrics: Mapping[str, float]) -> str | None:
        """Returns why a measured candidate breaks a limit, None if it does not; costs that were not measured break none."""
        for name, bound in self.bounds():
            if metrics.get(name, 0.0) > bound:
                return breach(name, metrics[name], bound, "measured ")
        return None


def breach(name: str, value: float, bound: float, how: str) -> str:
    """Returns the reason for a candidate whose cost `name` is above `bound`; `how` is "measured ", "predicted " or ""."""
    forms = {"params": "{:,.0f} parameters", "latency_ms": "{:.2f} ms", "memory_gb": "{:.2f} GB"}
    limit = {"params": f"{bound:,.0f}", "latency_ms": f"{bound:g} ms", "memory_gb": f"{bound:g} GB"}[name]
    return f"limit: {how}{forms[name].format(value)}, at most {limit} allowed"
