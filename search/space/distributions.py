"""Values of a parameter's distribution."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def options(over: BaseDistribution) -> list[Any]:
    """Returns every value of a discrete distribution, or the lowest of a continuous one."""
    if isinstance(over, IntDistribution):
        return list(range(over.low, over.high + 1, over.step))
    if isinstance(over, FloatDistribution):
        return [over.low]
    assert isinstance(over, CategoricalDistribution)
    return list(over.choices)


def contains(over: BaseDistribution, value: Any) -> bool:
    """Whether the distribution can yield the value."""
    if isinstance(over, FloatDistribution):
        return bool(over.low <= value <= over.high)
    return value in options(over)


def described(over: BaseDistribution) -> str:
    """Returns the values for people: `a, b` or `4 to 8`."""
    if isinstance(over, CategoricalDistribution):
        return ", ".join(map(str, over.choices))
    assert isinstance(over, IntDistribution | FloatDistribution)
    return f"{over.low:g} to {over.high:g}"
