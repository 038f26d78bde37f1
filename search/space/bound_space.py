"""A space over a base of known depth: depths are counts of layers, and params become candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from rsopt.core.candidate import Candidate
from rsopt.core.variant import BaseShape, Variant, digest
from search.space.candidates import LayerOrders, make_candidate
from search.space.distributions import contains, options
from search.space.parameters import DEPTHS, RULES, Value

Params = dict[str, Any]  # parameter -> value, only those that are searched and exist under their `when`
NO_TEACHER: Params = {"distill_logits": 0.0, "distill_hidden": 0.0}
COUNTABLE = 20_000  # combinations up to which a space is enumerated


@dataclass(frozen=True, slots=True)
class BoundSpace:
    """What a sampler draws from.

    `fixed` holds every other parameter: the space's own value or the default. `starts` are params to try first. `names` maps
    the key of a listed candidate to its name; nothing else is tried then.
    """

    shape: BaseShape
    distributions: dict[str, BaseDistribution]
    when: dict[str, tuple[str, tuple[Value, ...]]]
    fixed: Params
    starts: tuple[Params, ...]
    orders: LayerOrders
    names: Mapping[str, str] = field(default_factory=dict)

    def suggest(self, trial: optuna.trial.BaseTrial) -> Params:
        """Draws every parameter that exists under the values drawn before it."""
        params: Params = {}
        for name, over in self.distributions.items():
            if self.active(name, params):
                if isinstance(over, IntDistribution):
                    params[name] = trial.suggest_int(name, over.low, over.high, step=over.step, log=over.log)
                elif isinstance(over, FloatDistribution):
                    params[name] = trial.suggest_float(name, over.low, over.high, log=over.log)
                else:
                    assert isinstance(over, CategoricalDistribution)
                    params[name] = trial.suggest_categorical(name, over.choices)
        return params

    def active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether a parameter exists, given the values of the earlier ones."""
        if name not in self.when:
            return True
        choice, values = self.when[name]
        return params.get(choice, self.fixed.get(choice)) in values

    def contains(self, params: Mapping[str, Any]) -> bool:
        """Whether these params are a point of the space: every parameter that exists under them, and no other."""
        names = {name for name in self.distributions if self.active(name, params)}
        return names == set(params) and all(contains(self.distributions[name], params[name]) for name in names)

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """Returns the candidate that these params describe; parameters that they leave out take their fixed values."""
        return make_candidate({**self.fixed, **params}, self.shape, self.orders)

    @property
    def distills(self) -> bool:
        """Whether a candidate may have a teacher."""
        return any(
            self.fixed.get(name, 0) > 0 or (name in self.distributions and not _only_zero(self.distributions[name]))
            for name in NO_TEACHER
        )

    def zero_shot(self) -> Candidate:
        """Returns the untuned base: every layer, no LoRA."""
        return Candidate(Variant.full(self.shape))

    def full_depth(self) -> tuple[Params, Candidate]:
        """Returns the reference with every layer, and LoRA and recipe of the first starting point; it has no teacher.

        Parameters that the starting point leaves out take their fixed values or defaults. The params are empty where the space
        cannot express this candidate, so that nothing false is told to a sampler. It is the teacher of candidates that distil.
        """
        values: Params = {name: rule.default for name, rule in RULES.items()}
        values |= self.fixed
        values |= self.starts[0] if self.starts else {}
        values |= {name: getattr(self.shape, name) for name in DEPTHS} | NO_TEACHER | {"baseline": "none"}
        if isinstance(ranking := self.distributions.get("ranking"), CategoricalDistribution):
            values["ranking"] = ranking.choices[0]  # at full depth all of them are the same
        candidate = make_candidate(values, self.shape, self.orders)
        params: Params = {}
        for name, over in self.distributions.items():
            if self.active(name, params):
                params[name] = int(values[name]) if isinstance(over, IntDistribution) else values[name]
        expressible = self.contains(params) and self.candidate(params).key == candidate.key
        return (params if expressible else {}), candidate

    @property
    def key(self) -> str:
        """Digest of the distributions: trials recorded under others would mislead a sampler, or break it."""
        return digest({name: distribution_to_json(over) for name, over in self.distributions.items()})

    @property
    def size(self) -> int | None:
        """Number of combinations of params, None if one of them is continuous."""
        if any(isinstance(over, FloatDistribution) and not over.single() for over in self.distributions.values()):
            return None
        names = list(self.distributions)
        conditions = {choice for choice, _ in self.when.values()}

        def count(at: int, params: Params) -> int:
            """Combinations of the parameters from `at` on; only those that are conditions of others are tried one by one."""
            if at == len(names):
                return 1
            name = names[at]
            if not self.active(name, params):
                return count(at + 1, params)
            choices = options(self.distributions[name])
            if name in conditions:
                return sum(count(at + 1, {**params, name: choice}) for choice in choices)
            return len(choices) * count(at + 1, params)

        return count(0, {})

    def combinations(self) -> Iterator[Params]:
        """Yields every combination of params in a fixed order. Only where `size` is a number."""
        names = list(self.distributions)
        stack: list[tuple[int, Params]] = [(0, {})]
        while stack:
            at, params = stack.pop()
            if at == len(names):
                yield params
            elif not self.active(names[at], params):
                stack.append((at + 1, params))
            else:
                stack += [(at + 1, {**params, names[at]: o}) for o in reversed(options(self.distributions[names[at]]))]


def _only_zero(over: BaseDistribution) -> bool:
    return isinstance(over, CategoricalDistribution) and set(over.choices) == {0.0}
