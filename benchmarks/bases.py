"""The bases of the benchmarks: `small`, a random BLIP-2 of 99 M parameters with the shares of blip2-opt-2.7b, or any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import Blip2Config

from rsopt.model.base import Base, best_device, best_dtype, load_base
from rsopt.model.configs import base_config
from rsopt.model.random_base import random_base

if TYPE_CHECKING:
    from rsopt.trial.worker_context import WorkerContext

Depths = tuple[int, int, int]  # layers of vision tower, Q-Former and LLM


def small_config() -> Blip2Config:
    """Configuration of `small`, 99 M parameters with the shares of blip2-opt-2.7b.

    26 % vision tower, 3 % Q-Former, 70 % language model, of which 5 % embedding. Token counts are those of blip2-opt-2.7b: 257
    of a 224 x 224 image, 32 queries. `eos_token_id` is the newline's in a cut vocabulary.
    """
    return Blip2Config(
        vision_config={
            "hidden_size": 384,
            "intermediate_size": 1676,
            "num_hidden_layers": 14,
            "num_attention_heads": 6,
            "image_size": 224,
            "patch_size": 14,
            "qkv_bias": True,
        },
        qformer_config={
            "vocab_size": 6144,
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
            "cross_attention_frequency": 2,
            "encoder_hidden_size": 384,
        },
        text_config={
            "model_type": "opt",
            "vocab_size": 6144,
            "hidden_size": 576,
            "word_embed_proj_dim": 576,
            "ffn_dim": 2304,
            "num_hidden_layers": 16,
            "num_attention_heads": 9,
            "max_position_embeddings": 2048,
            "pad_token_id": 1,
            "bos_token_id": 2,
            "eos_token_id": 118,
        },
        num_query_tokens=32,
        image_token_index=6143,
    )


def config_of(name: str) -> Blip2Config:
    """Configuration of `small` or of a base that rsopt knows by name."""
    return small_config() if name == "small" else base_config(name)


def named_base(name: str, device: torch.device | None = None) -> Base:
    """`small` with random weights, or a loaded base, on `device` or else on the GPU if there is one.

    Raises UserError if there is no such base.
    """
    device = device or best_device()
    if name == "small":
        return random_base(name, small_config(), device, best_dtype(device))
    return load_base(name, device)


def full_depths(base: Base) -> Depths:
    """All layers of the base."""
    return base.shape.vision_layers, base.shape.qformer_layers, base.shape.llm_layers


def worker_on(base: str = "tiny", data: str | None = None) -> WorkerContext:
    """A worker's context: a base and a data set, by default the generated one."""
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.trial.worker_context import WorkerContext

    return WorkerContext(load_base(base), read(data or mini_folder()))
