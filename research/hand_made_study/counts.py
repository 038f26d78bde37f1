"""Exact full-size counts of the hand-made study's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsopt.baselines.cost import baseline_cost
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.model import CostModel
from rsopt.model.configs import base_config


def full_size(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns exact counts by row name at full size: `params` and `gmacs` by part, and `trainable`. No weights are needed.

    PureT has the vocabulary that was reported. BITA is counted with the study's own language model, in the stage that trains
    its Q-Former.
    """

    base = base_config(study["config"], vocab_size=study["vocabulary"])
    model = CostModel(base)
    load = Workload(text_tokens=study["text_tokens"])
    part = LoraPart(**study["lora"])
    scopes = {"llm": LoraSpec(llm=part), "qformer": LoraSpec(qformer=part), "both": LoraSpec(part, part)}
    counts = {}
    for row in study["rows"]:
        if "system" in row:
            cost = baseline_cost(row["system"].lower(), base, False, row.get("words", 1), load)
        else:
            depths = (model.shape.vision_layers, row["qformer"], row["llm"])
            vision, qformer, llm = (tuple(range(n)) for n in depths)
            lora = scopes.get(row.get("lora", ""))
            cost = model.cost(Variant(vision, qformer, llm, lora), load)
        counts[row["name"]] = {"params": cost.params, "trainable": cost.trainable, "gmacs": cost.gmacs}
    return counts
