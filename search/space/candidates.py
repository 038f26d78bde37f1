"""Makes candidates from values of all parameters: the layers that are kept, LoRA and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsopt.core.candidate import Candidate
from rsopt.core.ranking import MEASURED, STRATEGIES, MeasuredRankings, Ranking, kept_layers, kept_qformer_layers, static_ranking
from rsopt.core.recipe import Recipe
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant
from rsopt.errors import UserError
from search.space.yaml_document import quoted

# The best learning rate of LoRA falls about as the LLM gets wider (2203.03466): 3.1e-3 at the shipped base's 128, 1.6e-4 at
# OPT-2.7b's 2560, in the middle of what papers use. One space can then serve both.
LR_TIMES_WIDTH = 0.4
FALLBACK = "alternate"  # order of Q-Former pairs and vision layers under a ranking that was measured for the LLM alone


@dataclass(frozen=True, slots=True)
class LayerOrders:
    """Orders in which layers are dropped: component -> ranking -> order, for the Q-Former of groups of `frequency` layers.

    `pairs` maps a number of Q-Former pairs to the best of them; it is empty if they were not measured.
    """

    frequency: int
    orders: Mapping[str, Mapping[str, Ranking]]
    pairs: Mapping[int, tuple[int, ...]]

    @classmethod
    def of(cls, shape: BaseShape, rankings: MeasuredRankings | None) -> LayerOrders:
        """Returns the static rankings of a base, and the measured ones. Raises UserError for rankings of another depth."""
        if shape.qformer_layers % shape.cross_attention_frequency:
            raise ValueError(f"the base's Q-Former does not consist of whole groups of layers: {shape}")
        groups = shape.qformer_layers // shape.cross_attention_frequency
        depths = {"vision": shape.vision_layers, "qformer": groups, "llm": shape.llm_layers}
        orders = {part: {name: static_ranking(name, depth) for name in STRATEGIES} for part, depth in depths.items()}
        for name, order in rankings.llm.items() if rankings else ():
            if sorted(order) != list(range(shape.llm_layers)):
                raise UserError(f"ranking {quoted(name)} does not order the base's {shape.llm_layers} LLM layers, each once")
            orders["llm"][name] = tuple(order)
        return cls(shape.cross_attention_frequency, orders, rankings.qformer_pairs if rankings else {})

    def kept(self, part: str, ranking: str, layers: int) -> tuple[int, ...]:
        """Returns the indices of the layers that a component keeps, ascending."""
        order = self.orders[part].get(ranking) or self.orders[part][FALLBACK]
        if part != "qformer":
            return kept_layers(order, layers)
        if ranking in MEASURED and layers // self.frequency in self.pairs:
            pairs = self.pairs[layers // self.frequency]
            return tuple(pair * self.frequency + i for pair in pairs for i in range(self.frequency))
        return kept_qformer_layers(order, layers, self.frequency)


def make_candidate(values: Mapping[str, Any], shape: BaseShape, orders: LayerOrders) -> Candidate:
    """Returns the candidate that these values of all parameters describe, over a base of this shape."""
    if values.get("baseline", "none") != "none":
        return Candidate(Variant.full(shape), baseline=values["baseline"])
    recipe = Recipe(
        lr=float(values["lr"]) or float(values["lr_factor"]) * LR_TIMES_WIDTH / shape.llm_width,
        epochs=float(values["epochs"]),
        batch_images=int(values["batch_images"]),
        weight_decay=float(values["weight_decay"]),
        warmup_share=float(values["warmup_share"]),
        packed=values["packed"],
        distill_logits=float(values["distill_logits"]),
        distill_hidden=float(values["distill_hidden"]),
        distill_temperature=float(values["distill_temperature"]),
        caption_tokens=min(int(values["caption_tokens"]), shape.caption_room),  # the default may be more than the base has
    )
    return Candidate(_variant(values, orders), recipe)


def _variant(values: Mapping[str, Any], orders: LayerOrders) -> Variant:
    lora_parts = {
        part: LoraPart(
            int(values[f"{part}_rank"]), float(values["alpha_ratio"]) * int(values[f"{part}_rank"]), values[f"{part}_targets"]
        )
        for part in ("llm", "qformer")
        if values["lora"] in (part, "both")
    }
    lora = LoraSpec(
        **lora_parts, dropout=float(values["dropout"]), rslora=values["rslora"], train_projection=values["train_projection"]
    )
    vision, qformer, llm = (
        orders.kept(part, values["ranking"], values[f"{part}_layers"]) for part in ("vision", "qformer", "llm")
    )
    return Variant(vision, qformer, llm, lora)
