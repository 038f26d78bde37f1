"""Binds a space to a base: depths become counts of its layers, parameters become distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rsopt.core.ranking import MeasuredRankings, Ranking
from rsopt.core.variant import BaseShape
from search.space.bound_space import BoundSpace, Params
from search.space.candidates import LayerOrders
from search.space.distributions import contains, described
from search.space.parameters import DEPTHS, RULES, Parameter, Start, Value
from search.space.yaml_document import YamlNode, quoted


def bind(
    parameters: Sequence[Parameter], starts: Sequence[Start], shape: BaseShape, rankings: MeasuredRankings | None
) -> BoundSpace:
    """Returns the parameters and starting points over a base of this shape; see `Space.bind`."""
    orders = LayerOrders.of(shape, rankings)
    fixed: Params = {name: _default(name, shape) for name in RULES}
    distributions: dict[str, BaseDistribution] = {}
    for parameter in parameters:
        values = _values(parameter, shape, orders.orders["llm"])
        if parameter.kind == "fixed":
            fixed[parameter.name] = values[0]
        else:
            distributions[parameter.name] = _distribution(parameter, values, shape)
            if parameter.when is None:  # others need a value where they do not exist
                del fixed[parameter.name]
    when = {p.name: p.when for p in parameters if p.when is not None}
    space = BoundSpace(shape, distributions, when, fixed, (), orders)
    named = {parameter.name: parameter for parameter in parameters}
    return replace(space, starts=tuple(_start(start, space, named) for start in starts))


def _start(start: Start, space: BoundSpace, named: Mapping[str, Parameter]) -> Params:
    """Returns a starting point with depths as counts, in the space's order. Raises UserError for a value outside the space."""
    params: Params = {}
    for name, over in space.distributions.items():
        if name not in start.values:
            continue
        value, node = start.values[name]
        if not space.active(name, params):
            raise node.error(f"{name} does not exist in this starting point: see its `when`")
        if name in DEPTHS:
            shares = any(isinstance(v, float) for v in (*named[name].values, value))
            value = _layers(value, shares, name, space.shape, node)
        if not contains(over, value):
            raise node.error(f"{name}: {quoted(value)} is outside the space; it has {described(over)}")
        params[name] = int(value) if isinstance(over, IntDistribution) else value
    return params


def _values(parameter: Parameter, shape: BaseShape, rankings: Mapping[str, Ranking]) -> tuple[Value, ...]:
    """Returns a parameter's values with depths as counts. Raises UserError for what this base does not have."""
    name, node = parameter.name, parameter.node
    if name == "caption_tokens" and (most := max(map(int, parameter.values))) > shape.caption_room:
        raise node.error(f"{name}: {most} asked for, the base has positions for {shape.caption_room}")
    if name == "ranking":
        for strategy in parameter.values:
            if strategy not in rankings:
                raise node.error(f"unknown ranking {quoted(strategy)}; known: {', '.join(rankings)}")
    if name not in DEPTHS:
        return parameter.values
    shares = any(isinstance(value, float) for value in parameter.values)
    counts = [_layers(value, shares, name, shape, node) for value in parameter.values]
    if parameter.kind == "layers" and counts[0] > counts[1]:
        raise node.error(f"layers of {name}: the lowest, {counts[0]}, is above the highest, {counts[1]}")
    return tuple(dict.fromkeys(counts)) if parameter.kind == "choice" else tuple(counts)


def _layers(value: Value, shares: bool, name: str, shape: BaseShape, node: YamlNode) -> int:
    """Returns a depth as a count of layers, at least one; Q-Former layers in whole groups.

    Args:
        value: a share of the base's depth, which is rounded, or a count.
        shares: whether a 1 is the share 1.0.
        name: of the parameter.
        shape: of the base.
        node: where errors are.
    """
    depth = int(getattr(shape, name))
    step = shape.cross_attention_frequency if name == "qformer_layers" else 1
    if isinstance(value, float) or (value == 1 and shares):
        return step * max(1, math.floor(float(value) * depth / step + 0.5))
    count = int(value)
    if count > depth:
        raise node.error(f"{name}: {count} layers asked for, the base has {depth}")
    if count % step:
        raise node.error(f"{name}: {count} layers are not whole groups of {step} (cross-attention in the first of each)")
    return count


def _default(name: str, shape: BaseShape) -> Value:
    return int(getattr(shape, name)) if name in DEPTHS else RULES[name].default


def _distribution(parameter: Parameter, values: tuple[Any, ...], shape: BaseShape) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(values)
    if parameter.kind == "float":
        return FloatDistribution(float(values[0]), float(values[1]), log=parameter.log)
    step = shape.cross_attention_frequency if parameter.name == "qformer_layers" else 1
    return IntDistribution(int(values[0]), int(values[1]), log=parameter.log, step=step)
