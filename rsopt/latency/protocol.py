"""The latency protocol: what is timed and how long, the reference model, and the context that a latency depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from transformers import Blip2Config

from rsopt.core.inference import BEAMS, DECODERS, GENERATE
from rsopt.core.variant import Architecture, BaseShape, Variant
from rsopt.latency.device import device_name
from rsopt.model.base import Base

UNSTEADY = 4


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is timed and how long. `new_tokens` is the same for every candidate; else longer captions would count as latency.

    After `warmups`, candidate and reference are timed in turn for at least `least_runs` rounds, until the interval of the
    candidate's relative time is within `width` of it, or `seconds` or `most_runs` are spent. A session is disturbed if its
    reference moved by more than `drift` from its first half to its second, if its interval is wider than UNSTEADY times
    `width`, or on a CPU if it waited more than a share `waited` of its time for a core, or if other programs used more than
    `used_by_others` of all cores. It is then repeated, at most `repeats` times, and not while other programs run.
    """

    new_tokens: int
    beams: int = BEAMS
    decoder: str = GENERATE
    warmups: int = 20
    least_runs: int = 30
    most_runs: int = 400
    width: float = 0.005
    seconds: float = 120.0
    drift: float = 0.02
    waited: float = 0.05
    used_by_others: float = 0.2
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.new_tokens < 2 or self.beams < 1 or not 2 <= self.least_runs <= self.most_runs:
            raise ValueError(f"at least 2 new tokens, 1 beam and 2 runs are needed: {asdict(self)}")
        if self.decoder not in DECODERS:
            raise ValueError(f"unknown decoder '{self.decoder}'; known: {', '.join(DECODERS)}")

    @classmethod
    def for_device(cls, device: torch.device, new_tokens: int, decoder: str = GENERATE) -> Protocol:
        """Returns the protocol of a search: at least 30 rounds on a GPU; mostly 8 on a CPU, where a run takes longer."""
        if device.type == "cuda":
            return cls(new_tokens, decoder=decoder)
        return cls(
            new_tokens, decoder=decoder, warmups=1, least_runs=8, most_runs=60, width=0.05, seconds=3.0, drift=0.05, repeats=1
        )


def reference_architecture(shape: BaseShape) -> tuple[int, int, int]:
    """Returns the depths of the reference model: half of each part of the base, Q-Former layers in whole groups."""
    every = shape.cross_attention_frequency
    whole = min(shape.qformer_layers, max(1, shape.qformer_layers // 2 // every) * every)
    return max(1, shape.vision_layers // 2), whole, max(1, shape.llm_layers // 2)


def first_layers(vision: int, qformer: int, llm: int) -> Variant:
    """Returns the variant that keeps the first layers. Which layers are kept does not change their latency."""
    return Variant(tuple(range(vision)), tuple(range(qformer)), tuple(range(llm)))


def variant_of_depths(architecture: Architecture, shape: BaseShape) -> Variant:
    """Returns a variant of this architecture: Q-Former layers in whole groups, or with cross-attention alone."""
    depth = architecture.qformer_layers
    step = shape.cross_attention_frequency if architecture.cross_layers == depth else 1
    qformer = tuple(range(0, depth * step, step))
    return replace(first_layers(architecture.vision_layers, depth, architecture.llm_layers), qformer_layers=qformer)


def latency_context(base: Base, protocol: Protocol) -> dict[str, Any]:
    """Returns all that a latency depends on besides the architecture. Ledger entries of other contexts are never used."""
    return {
        **model_context(base),
        "reference": list(reference_architecture(base.shape)),
        "device": device_name(base.device),
        "threads": torch.get_num_threads() if base.device.type == "cpu" else 0,
        "protocol": asdict(protocol),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def model_context(base: Base) -> dict[str, Any]:
    """Returns the base's part of a context: widths, vocabulary, image, queries and attention kernel."""
    return {**shape_context(base.model.config), "attention": base.model.config.text_config._attn_implementation}


def shape_context(config: Blip2Config) -> dict[str, Any]:
    """Returns the part of a context that follows from a base's configuration, without weights."""
    parts = (config.vision_config, config.qformer_config, config.text_config)
    return {
        "widths": [part.hidden_size for part in parts],
        "heads": [part.num_attention_heads for part in parts],
        "inner": [parts[0].intermediate_size, parts[1].intermediate_size, parts[2].ffn_dim],
        "vocabulary": config.text_config.vocab_size,
        "queries": config.num_query_tokens,
        "image": [config.vision_config.image_size, config.vision_config.patch_size],
    }
