"""Binding: depths of a space become counts of a base's layers, and its parameters what a sampler draws from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rsopt.core.ranking import STRATEGIES, MeasuredRankings, Ranking, static_ranking
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from search.space.bound_space import BoundSpace, Params, contains
from search.space.parameters import DEPTHS, RULES, Parameter, Start, Value
from search.space.yaml_document import YamlNode, quoted


def bind(
    parameters: Sequence[Parameter], starts: Sequence[Start], shape: BaseShape, rankings: MeasuredRankings | None
) -> BoundSpace:
    """The parameters and starting points over a base of this shape: see `Space.bind`."""
    if shape.qformer_layers % shape.cross_attention_frequency:
        raise ValueError(f"the base's Q-Former does not consist of whole groups of layers: {shape}")
    groups = shape.qformer_layers // shape.cross_attention_frequency
    orders = {
        part: {strategy: static_ranking(strategy, depth) for strategy in STRATEGIES}
        for part, depth in (("vision", shape.vision_layers), ("qformer", groups), ("llm", shape.llm_layers))
    }
    for strategy, order in rankings.llm.items() if rankings else ():
        if sorted(order) != list(range(shape.llm_layers)):
            raise UserError(
                f"ranking {quoted(strategy)} does not order the base's {shape.llm_layers} LLM layers, each once"
            )
        orders["llm"][strategy] = tuple(order)

    fixed: Params = {name: rule.default for name, rule in RULES.items()} | {
        name: getattr(shape, name) for name in DEPTHS
    }
    distributions: dict[str, BaseDistribution] = {}
    for parameter in parameters:
        values = _bound(parameter, shape, orders["llm"])
        if parameter.kind == "fixed":
            fixed[parameter.name] = values[0]
        else:
            del fixed[parameter.name]
            distributions[parameter.name] = _distribution(parameter, values, shape)
    # A parameter that does not exist under its `when` still needs a value: its default.
    fixed |= {p.name: _default(p.name, shape) for p in parameters if p.when is not None and p.kind != "fixed"}
    when = {p.name: p.when for p in parameters if p.when is not None}
    pairs = rankings.qformer_pairs if rankings else {}
    space = BoundSpace(shape, distributions, when, fixed, (), orders, pairs)
    named = {parameter.name: parameter for parameter in parameters}
    return replace(space, starts=tuple(_start(start, space, named) for start in starts))


def _start(start: Start, space: BoundSpace, named: Mapping[str, Parameter]) -> Params:
    """A starting point with depths as counts, in the space's order. Raises UserError for a value outside the space."""
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
            raise node.error(f"{name}: {quoted(value)} is outside the space; it has {_described(over)}")
        params[name] = int(value) if isinstance(over, IntDistribution) else value
    return params


def _bound(parameter: Parameter, shape: BaseShape, rankings: Mapping[str, Ranking]) -> tuple[Value, ...]:
    """The parameter's values with depths as counts. Raises UserError for a depth or a ranking that this base lacks."""
    name, node = parameter.name, parameter.node
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
    """A depth as a count: shares round to whole layers (Q-Former: whole pairs), at least one. A bare 1 among shares is all."""
    depth = int(getattr(shape, name))
    step = shape.cross_attention_frequency if name == "qformer_layers" else 1
    if isinstance(value, float) or (value == 1 and shares):
        return step * max(1, math.floor(float(value) * depth / step + 0.5))
    count = int(value)
    if count > depth:
        raise node.error(f"{name}: {count} layers asked for, the base has {depth}")
    if count % step:
        raise node.error(
            f"{name}: {count} layers are not whole groups of {step} (cross-attention in the first of each)"
        )
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


def _described(over: BaseDistribution) -> str:
    if isinstance(over, CategoricalDistribution):
        return ", ".join(map(str, over.choices))
    assert isinstance(over, IntDistribution | FloatDistribution)
    return f"{over.low:g} to {over.high:g}"
