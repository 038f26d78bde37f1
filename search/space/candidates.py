"""Makes candidates from values of all parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsopt.core.candidate import Candidate
from rsopt.core.recipe import Recipe
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant
from search.space.layer_orders import LayerOrders

# The best learning rate of LoRA falls about as the LLM gets wider (2203.03466): 3.1e-3 at the shipped base's 128, 1.6e-4 at
# OPT-2.7b's 2560, in the middle of what papers use. One space can then serve both.
LR_TIMES_WIDTH = 0.4


def make_candidate(values: Mapping[str, Any], shape: BaseShape, orders: LayerOrders) -> Candidate:
    """Returns the candidate that these values of all parameters describe, over a base of this shape."""
    if values.get("baseline", "none") != "none":
        return Candidate(Variant.full(shape), baseline=values["baseline"])
    return Candidate(_variant(values, orders), _recipe(values, shape))


def _variant(values: Mapping[str, Any], orders: LayerOrders) -> Variant:
    ranking, scope, ratio = values["ranking"], values["lora"], float(values["alpha_ratio"])
    parts = {
        part: LoraPart(int(values[f"{part}_rank"]), ratio * int(values[f"{part}_rank"]), values[f"{part}_targets"])
        if scope in (part, "both")
        else None
        for part in ("llm", "qformer")
    }
    lora = LoraSpec(
        **parts,
        dropout=float(values["dropout"]),
        rslora=values["rslora"],
        train_projection=values["train_projection"],
    )
    return Variant(
        orders.kept_vision(ranking, values["vision_layers"]),
        orders.kept_qformer(ranking, values["qformer_layers"]),
        orders.kept_llm(ranking, values["llm_layers"]),
        lora,
    )


def _recipe(values: Mapping[str, Any], shape: BaseShape) -> Recipe:
    return Recipe(
        lr=float(values["lr"]) or float(values["lr_factor"]) * LR_TIMES_WIDTH / shape.llm_width,
        epochs=float(values["epochs"]),
        batch_images=int(values["batch_images"]),
        weight_decay=float(values["weight_decay"]),
        warmup_share=float(values["warmup_share"]),
        packed=values["packed"],
        distill_logits=float(values["distill_logits"]),
        distill_hidden=float(values["distill_hidden"]),
        distill_temperature=float(values["distill_temperature"]),
    )
