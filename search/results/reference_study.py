"""The hand-made study's table, as it said it, with what is wrong in it; and the exact full-size counts of its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("reference_study.json")


def read_reference_study() -> dict[str, Any]:
    """The study: `rows` with what it `said` under our metrics' names, `columns` that hold or do not and why.

    A row with `here` has a counterpart of that name in `spaces/report.yaml`, one with `system` is another captioner.
    """
    study: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return study


def full_size(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Exact counts by row name at full size: `params` and `gmacs` by part, `trainable`. No weights are needed.

    PureT with the vocabulary it `said`, BITA before the study's own language model, in the stage that trains its Q-Former.
    """
    from rsopt.baselines.cost import baseline_cost  # brings torch: --help does without
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.cost.memory import Workload
    from rsopt.cost.model import CostModel
    from rsopt.model.configs import base_config

    base = base_config(study["config"], vocab_size=study["vocabulary"])
    model = CostModel(base)
    load = Workload(text_tokens=study["text_tokens"])
    part = LoraPart(**study["lora"])
    scopes = {"llm": LoraSpec(llm=part), "qformer": LoraSpec(qformer=part), "both": LoraSpec(part, part)}
    found = {}
    for row in study["rows"]:
        if "system" in row:
            cost = baseline_cost(row["system"].lower(), base, False, row.get("words", 1), load)
        else:
            kept = (model.shape.vision_layers, row["qformer"], row["llm"])
            vision, qformer, llm = (tuple(range(n)) for n in kept)
            lora = scopes.get(row.get("lora", ""))
            cost = model.cost(Variant(vision, qformer, llm, lora), load)
        found[row["name"]] = {"params": cost.params, "trainable": cost.trainable, "gmacs": cost.gmacs}
    return found
