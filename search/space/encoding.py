"""Encodes params as numbers, and draws random and neighbouring params of a space. Faster than by an Optuna trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.space.bound_space import BoundSpace, Params

STEP = 0.15  # standard deviation of a neighbour's distance, as a share of a numeric parameter's range
CHANGES = 1.5  # parameters that a neighbour changes on average


def column_groups(distributions: Mapping[str, BaseDistribution]) -> list[int]:
    """Returns for each column of an encoded row the index of its parameter."""
    groups: list[int] = []
    for group, over in enumerate(distributions.values()):
        groups += [group] * (len(over.choices) if isinstance(over, CategoricalDistribution) else 1)
    return groups


def encode(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> list[float]:
    """Returns the row of these params: one number for each of `column_groups`.

    Each numeric parameter becomes one column in [0, 1] (log if the space says so), each choice one column for each option. A
    parameter that does not exist under its `when` becomes the middle of its range, the same for all such candidates.
    """
    row: list[float] = []
    for name, over in distributions.items():
        if isinstance(over, CategoricalDistribution):
            # With this scale two different options are at distance 1, as are the ends of a range.
            share = math.sqrt(0.5)
            if name in params:
                row += [share * (params[name] == choice) for choice in over.choices]
            else:
                row += [share / len(over.choices)] * len(over.choices)
        else:
            row.append(_unit(over, params[name]) if name in params else 0.5)
    return row


class Encoder:
    """Encodes and draws the params of one space; `groups` gives the parameter of each column of a row."""

    def __init__(self, space: BoundSpace) -> None:
        self.space = space
        self.groups = column_groups(space.distributions)

    def encode(self, params: Mapping[str, Any]) -> list[float]:
        """Returns the row of these params."""
        return encode(params, self.space.distributions)

    def random(self, rng: np.random.Generator) -> Params:
        """Draws params uniformly (log-uniformly if the space says so)."""
        params: Params = {}
        for name, over in self.space.distributions.items():
            if self.space.active(name, params):
                params[name] = _at(over, rng.random())
        return params

    def neighbour(self, parent: Mapping[str, Any], rng: np.random.Generator) -> Params:
        """Returns the parent with one or a few parameters changed a little; parameters that newly exist are drawn."""
        distributions = self.space.distributions
        names = [name for name in distributions if name in parent]
        changed = {names[rng.integers(len(names))]} if names else set()
        changed |= {name for name in names if rng.random() < (CHANGES - 1) / max(1, len(names) - 1)}
        params: Params = {}
        for name, over in distributions.items():
            if not self.space.active(name, params):
                continue
            if name not in parent:
                params[name] = _at(over, rng.random())
            elif name not in changed:
                params[name] = parent[name]
            elif isinstance(over, CategoricalDistribution):
                params[name] = _at(over, rng.random())
            else:
                step = rng.normal(0.0, STEP)
                value = _at(over, min(1 - 1e-9, max(0.0, _unit(over, parent[name]) + step)))
                params[name] = _next(over, value, step) if value == parent[name] else value
        return params


def _span(over: IntDistribution | FloatDistribution) -> tuple[float, float]:
    """Returns the range on which a numeric parameter is uniform; each whole number covers half a step on either side."""
    half = 0.5 * over.step if isinstance(over, IntDistribution) else 0.0
    low, high = over.low - half, over.high + half
    return (math.log(low), math.log(high)) if over.log else (low, high)


def _unit(over: BaseDistribution, value: Any) -> float:
    assert isinstance(over, IntDistribution | FloatDistribution)
    low, high = _span(over)
    at = math.log(value) if over.log else float(value)
    return (at - low) / (high - low) if high > low else 0.5


def _at(over: BaseDistribution, share: float) -> Any:
    """Returns the value at a share in [0, 1) of the range, or the option."""
    if isinstance(over, CategoricalDistribution):
        return over.choices[int(share * len(over.choices))]
    assert isinstance(over, IntDistribution | FloatDistribution)
    low, high = _span(over)
    at = low + share * (high - low)
    value = math.exp(at) if over.log else at
    if isinstance(over, FloatDistribution):
        return min(over.high, max(over.low, value))
    steps = round((value - over.low) / over.step)
    return int(min(over.high, max(over.low, over.low + steps * over.step)))


def _next(over: BaseDistribution, value: Any, step: float) -> Any:
    """Returns the next whole number, so that a small step changes it; a real number is returned as it is."""
    if not isinstance(over, IntDistribution):
        return value
    following = value + (over.step if step > 0 else -over.step)
    return following if over.low <= following <= over.high else value
