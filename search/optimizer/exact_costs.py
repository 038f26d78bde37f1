"""Exact costs of candidates from the base's configuration, and latencies recorded in a ledger: known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rsopt.core.candidate import Candidate
from rsopt.core.inference import BEAMS
from rsopt.core.packed_lengths import PackedLengths
from rsopt.core.variant import Dtype, digest
from rsopt.latency.additive_model import TimedArchitecture, whole_groups
from rsopt.latency.ledger import Ledger
from rsopt.model.configs import base_config, shape_of
from search.optimizer.cost_estimator import Costs

DTYPE: Dtype = "float32"  # of an architecture whose dtype is not stated


def exact_costs(
    base: str, dtype: Dtype, memory: bool = False, exceeded_by: float = 1.0, packed: PackedLengths | None = None
) -> Costs:
    """Returns the cost model of a base as a function of candidates, which takes microseconds.

    With `memory` the costs include `memory_gb`, the peak with weights and activations of `dtype`, which takes 0.1 ms.
    Training memory besides the weights is multiplied by `exceeded_by` (rsopt.common.out_of_memory), and is for images with
    `packed` caption tokens, by default five captions of ordinary length.
    """
    from rsopt.cost.memory import Workload
    from rsopt.cost.model import CostModel  # counts on torch's meta device

    model = CostModel(base_config(base))
    by_depths: dict[tuple[int, tuple[int, ...], int], dict[str, float]] = {}

    def costs(candidate: Candidate) -> Mapping[str, float]:
        variant = candidate.variant
        if candidate.baseline is not None:
            return {}  # its vocabulary depends on the data, which is not read here
        # Merged adapters cost nothing; layers are alike, except that only some of the Q-Former's have cross-attention.
        depths = (len(variant.vision_layers), variant.qformer_layers, len(variant.llm_layers))
        if depths not in by_depths:
            cost = model.cost(replace(variant, lora=None))
            by_depths[depths] = {
                "params": float(cost.params["total"]),
                "gmacs": cost.gmacs["total"],
                "size_mb": cost.size_mb[dtype],
            }
        exact = {**by_depths[depths], "trainable": float(model.trainable(variant))}
        if memory:
            load = Workload(beams=BEAMS, batch_images=candidate.recipe.batch_images, dtype=dtype)
            peaks = dict(model.cost(variant, load).memory_gb)
            if packed is not None:
                behind = replace(load, text_tokens=packed.ordinary, captions_per_image=1)
                peaks |= {k: gb for k, gb in model.cost(variant, behind).memory_gb.items() if k == "training"}
            weights = peaks["weights"]
            training = peaks.get("training", weights) - weights  # of LoRA alone: the base is not trained
            exact["memory_gb"] = max(*peaks.values(), weights + exceeded_by * training)
        return exact

    return costs


def recorded_latencies(ledger: Path, base: str) -> list[TimedArchitecture]:
    """Returns a ledger's latencies by depths: dtype and `cross_layers` are left at their defaults, as the search leaves them.

    Empty if the ledger holds more than one device, protocol, version or dtype: which of them the workers have is not known.
    """
    entries = Ledger(ledger).entries()
    if len({(digest(entry.context), entry.architecture.dtype) for entry in entries}) != 1:
        return []
    measured = whole_groups(entries, shape_of(base_config(base)).cross_attention_frequency)
    return [replace(one, architecture=replace(one.architecture, dtype=DTYPE, cross_layers=None)) for one in measured]
