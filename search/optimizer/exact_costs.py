"""Figures of a candidate that are known before it runs, from the base's configuration alone, and latencies of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rsopt.core.candidate import Candidate
from rsopt.core.inference import BEAMS
from rsopt.core.variant import Dtype, digest
from rsopt.latency.additive_model import TimedArchitecture, whole_groups
from rsopt.latency.ledger import Ledger
from rsopt.model.configs import base_config, shape_of
from search.optimizer.cost_estimator import Costs

DTYPE: Dtype = "float32"  # of an architecture whose dtype nobody stated


def exact_costs(base: str, dtype: Dtype, memory: bool = False, exceeded_by: float = 1.0) -> Costs:
    """The cost model of a base as a function of candidates: microseconds each.

    `memory_gb`, the peak with weights and activations of `dtype`, takes a tenth of a millisecond and is there if asked for.
    Training memory beside the weights is multiplied by `exceeded_by` (rsopt.common.out_of_memory).
    """
    from rsopt.cost.memory import Workload
    from rsopt.cost.model import CostModel  # counts on torch's meta device

    model = CostModel(base_config(base))
    plain: dict[tuple[int, tuple[int, ...], int], dict[str, float]] = {}

    def figures(candidate: Candidate) -> Mapping[str, float]:
        variant = candidate.variant
        if candidate.baseline is not None:
            return {}  # its vocabulary is counted from the data, which is not looked at here
        # Merged, adapters cost nothing; layers are alike, but for which of the Q-Former's have cross-attention.
        key = (len(variant.vision_layers), variant.qformer_layers, len(variant.llm_layers))
        if key not in plain:
            cost = model.cost(replace(variant, lora=None))
            plain[key] = {
                "params": float(cost.params["total"]),
                "gmacs": cost.gmacs["total"],
                "size_mb": cost.size_mb[dtype],
            }
        found = {**plain[key], "trainable": float(model.trainable(variant))}
        if memory:
            load = Workload(beams=BEAMS, batch_images=candidate.recipe.batch_images, dtype=dtype)
            peaks = model.cost(variant, load).memory_gb
            beside = (
                peaks.get("training", peaks["weights"]) - peaks["weights"]
            )  # of LoRA alone: the base is not trained
            found["memory_gb"] = max(*peaks.values(), peaks["weights"] + exceeded_by * beside)
        return found

    return figures


def recorded_latencies(ledger: Path, base: str) -> list[TimedArchitecture]:
    """Latencies of a ledger by depths alone, as the search writes architectures: dtype and `cross_layers` at their defaults.

    Empty where it holds more than one device, protocol, version or dtype: which of them the workers are is not known here.
    """
    entries = Ledger(ledger).entries()
    if len({(digest(entry.context), entry.architecture.dtype) for entry in entries}) != 1:
        return []
    measured = whole_groups(entries, shape_of(base_config(base)).cross_attention_frequency)
    return [replace(one, architecture=replace(one.architecture, dtype=DTYPE, cross_layers=None)) for one in measured]
