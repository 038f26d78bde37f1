"""Params as numbers for a model, and random and neighbouring params of a space, conditionals included. Fast: no Optuna trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.space.bound_space import BoundSpace, Params

STEP = 0.15  # of a numeric parameter's range: how far a neighbour is, one standard deviation
CHANGES = 1.5  # parameters that a neighbour changes on average


class Encoder:
    """Each numeric parameter becomes one column in [0, 1] (log where the space says so), each choice one column an option.

    A parameter that does not exist under its `when` is put in the middle of its range, where it tells nothing apart.
    """

    def __init__(self, space: BoundSpace) -> None:
        self.space = space
        self.groups: list[int] = []  # column -> which parameter it belongs to
        for group, over in enumerate(space.distributions.values()):
            options = len(over.choices) if isinstance(over, CategoricalDistribution) else 1
            self.groups += [group] * options

    def encode(self, params: Mapping[str, Any]) -> list[float]:
        """The row of these params: as many numbers as there are `groups`."""
        row: list[float] = []
        for name, over in self.space.distributions.items():
            if isinstance(over, CategoricalDistribution):
                # So scaled, two different options are at distance 1, as are the ends of a range.
                share = math.sqrt(0.5)
                if name in params:
                    row += [share * (params[name] == choice) for choice in over.choices]
                else:
                    row += [share / len(over.choices)] * len(over.choices)
            else:
                row.append(_unit(over, params[name]) if name in params else 0.5)
        return row

    def random(self, rng: np.random.Generator) -> Params:
        """Params drawn uniformly, as the space spreads them."""
        params: Params = {}
        for name, over in self.space.distributions.items():
            if self.space.active(name, params):
                params[name] = _at(over, rng.random())
        return params

    def neighbour(self, parent: Mapping[str, Any], rng: np.random.Generator) -> Params:
        """The parent with one parameter or a few changed a little; what that brings into existence is drawn."""
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
    """The range on which a numeric parameter is uniform; whole numbers own half a step on either side of them."""
    half = 0.5 * over.step if isinstance(over, IntDistribution) else 0.0
    low, high = over.low - half, over.high + half
    return (math.log(low), math.log(high)) if over.log else (low, high)


def _unit(over: BaseDistribution, value: Any) -> float:
    assert isinstance(over, IntDistribution | FloatDistribution)
    low, high = _span(over)
    at = math.log(value) if over.log else float(value)
    return (at - low) / (high - low) if high > low else 0.5


def _at(over: BaseDistribution, share: float) -> Any:
    """The value at a share in [0, 1) of the range, or the option."""
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
    """The whole number beside this one, so that a small step is a step; a real number moved by itself."""
    if not isinstance(over, IntDistribution):
        return value
    beside = value + (over.step if step > 0 else -over.step)
    return beside if over.low <= beside <= over.high else value
