"""BoundSpace: a space over a base of known depth. Depths are counts of layers here; params become candidates."""

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
from rsopt.core.ranking import MEASURED, Ranking, kept, kept_pairs
from rsopt.core.recipe import Recipe
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant, digest
from search.space.parameters import DEPTHS, RULES, Value

Params = dict[str, Any]  # parameter -> value, only those that are searched and exist under their `when`
# The best rate of LoRA falls about as the LLM gets wider (2203.03466): 3.1e-3 at the shipped base's 128, 1.6e-4 at
# OPT-2.7b's 2560, in the middle of what papers use. One space can then serve both.
LR_TIMES_WIDTH = 0.4
UNTAUGHT: Params = {"distill_logits": 0.0, "distill_hidden": 0.0}
COUNTABLE = 20_000  # combinations up to which a space is enumerated
FALLBACK = "alternate"  # order of Q-Former pairs and vision layers under a ranking that was measured for the LLM alone


@dataclass(frozen=True, slots=True)
class BoundSpace:
    """What a sampler draws from. `fixed` holds every other parameter: the space's own value or the default."""

    shape: BaseShape
    distributions: dict[str, BaseDistribution]
    when: dict[str, tuple[str, tuple[Value, ...]]]
    fixed: Params
    starts: tuple[Params, ...]
    orders: dict[str, dict[str, Ranking]]  # component -> strategy -> order
    measured_pairs: Mapping[int, tuple[int, ...]]  # number of Q-Former pairs -> the best of them; empty if not measured
    names: Mapping[str, str] = field(
        default_factory=dict
    )  # key of a listed candidate -> its name; then nothing else is tried

    def suggest(self, trial: optuna.trial.BaseTrial) -> Params:
        """Draw every parameter that exists under the choices made before it; depths are counts of layers."""
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
        names = [name for name in self.distributions if self.active(name, params)]
        return set(names) == set(params) and all(contains(self.distributions[n], params[n]) for n in names)

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """The candidate these params describe; what they leave out takes its fixed or default value. Pure."""
        value = {**self.fixed, **params}
        if value.get("baseline", "none") != "none":
            return Candidate(Variant.full(self.shape), baseline=value["baseline"])
        return Candidate(self._variant(value), self._recipe(value))

    @property
    def distills(self) -> bool:
        """Whether a candidate may have a teacher."""
        return any(
            self.fixed.get(name, 0) > 0 or (name in self.distributions and not _only_zero(self.distributions[name]))
            for name in UNTAUGHT
        )

    def zero_shot(self) -> Candidate:
        """The base as it comes: every layer, no LoRA."""
        return Candidate(Variant.full(self.shape))

    def full_depth(self) -> tuple[Params, Candidate]:
        """The reference point: every layer, with LoRA and recipe of the space's first starting point, taught by nobody.

        What that leaves out is as the space fixes it, else by default. It is the teacher of candidates that distil.

        The params are empty where the space cannot express it, so that nothing false is taught to a sampler.
        """
        value: Params = {name: rule.default for name, rule in RULES.items()}
        value |= self.fixed
        value |= self.starts[0] if self.starts else {}
        value |= {name: getattr(self.shape, name) for name in DEPTHS} | UNTAUGHT | {"baseline": "none"}
        if isinstance(ranking := self.distributions.get("ranking"), CategoricalDistribution):
            value["ranking"] = ranking.choices[0]  # at full depth all of them are the same
        candidate = Candidate(self._variant(value), self._recipe(value))
        params: Params = {}
        for name, over in self.distributions.items():
            if self.active(name, params):
                params[name] = int(value[name]) if isinstance(over, IntDistribution) else value[name]
                if not contains(over, value[name]):
                    return {}, candidate
        return (params, candidate) if self.candidate(params).key == candidate.key else ({}, candidate)

    @property
    def key(self) -> str:
        """Digest of what is drawn from: trials recorded under another one would mislead a sampler, or break it."""
        return digest({name: distribution_to_json(over) for name, over in self.distributions.items()})

    @property
    def size(self) -> int | None:
        """Number of combinations of params, None if one of them is continuous."""
        if any(isinstance(over, FloatDistribution) and not over.single() for over in self.distributions.values()):
            return None
        names = list(self.distributions)
        deciding = {choice for choice, _ in self.when.values()}

        def count(at: int, params: Params) -> int:
            """Combinations of the parameters from `at` on; only those that decide over others are tried one by one."""
            if at == len(names):
                return 1
            name = names[at]
            if not self.active(name, params):
                return count(at + 1, params)
            choices = options(self.distributions[name])
            if name in deciding:
                return sum(count(at + 1, {**params, name: choice}) for choice in choices)
            return len(choices) * count(at + 1, params)

        return count(0, {})

    def combinations(self) -> Iterator[Params]:
        """Every combination of params in a fixed order. Only where `size` is a number."""
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

    def _variant(self, value: Mapping[str, Any]) -> Variant:
        strategy = value["ranking"]
        orders = {part: self._order(part, strategy) for part in ("vision", "llm")}
        scope, ratio = value["lora"], float(value["alpha_ratio"])
        parts = {
            part: LoraPart(int(value[f"{part}_rank"]), ratio * int(value[f"{part}_rank"]), value[f"{part}_targets"])
            if scope in (part, "both")
            else None
            for part in ("llm", "qformer")
        }
        lora = LoraSpec(
            **parts, dropout=float(value["dropout"]), rslora=value["rslora"], train_projection=value["train_projection"]
        )
        return Variant(
            kept(orders["vision"], value["vision_layers"]),
            self._qformer(strategy, value["qformer_layers"]),
            kept(orders["llm"], value["llm_layers"]),
            lora,
        )

    def _qformer(self, strategy: str, layers: int) -> tuple[int, ...]:
        every = self.shape.cross_attention_frequency
        if strategy in MEASURED and layers // every in self.measured_pairs:
            return tuple(pair * every + i for pair in self.measured_pairs[layers // every] for i in range(every))
        return kept_pairs(self._order("qformer", strategy), layers, every)

    def _order(self, part: str, strategy: str) -> Ranking:
        return self.orders[part].get(strategy) or self.orders[part][FALLBACK]

    def _recipe(self, value: Mapping[str, Any]) -> Recipe:
        return Recipe(
            lr=float(value["lr"]) or float(value["lr_factor"]) * LR_TIMES_WIDTH / self.shape.llm_width,
            epochs=float(value["epochs"]),
            batch_images=int(value["batch_images"]),
            weight_decay=float(value["weight_decay"]),
            warmup_share=float(value["warmup_share"]),
            packed=value["packed"],
            distill_logits=float(value["distill_logits"]),
            distill_hidden=float(value["distill_hidden"]),
            distill_temperature=float(value["distill_temperature"]),
        )


def options(over: BaseDistribution) -> list[Any]:
    """Every value of a discrete distribution (or of a continuous one that has a single value)."""
    if isinstance(over, IntDistribution):
        return list(range(over.low, over.high + 1, over.step))
    if isinstance(over, FloatDistribution):
        return [over.low]
    assert isinstance(over, CategoricalDistribution)
    return list(over.choices)


def _only_zero(over: BaseDistribution) -> bool:
    return isinstance(over, CategoricalDistribution) and set(over.choices) == {0.0}


def contains(over: BaseDistribution, value: Any) -> bool:
    if isinstance(over, FloatDistribution):
        return bool(over.low <= value <= over.high)
    return value in options(over)
