"""Bases to measure on: `small`, a random BLIP-2 of about 100 M parameters in the proportions of blip2-opt-2.7b, or any other."""

from __future__ import annotations

import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.core.variant import Dtype
from rsopt.model.base import DTYPES, Base, best_device, best_dtype, load_base
from rsopt.model.configs import shape_of
from rsopt.model.random_base import random_base


def small_config() -> Blip2Config:
    """26 % vision tower, 3 % Q-Former, 70 % language model, of which 5 % embedding, as in blip2-opt-2.7b; 99 M in all.

    Tokens are as many as there: 257 of a 224 x 224 image, 32 queries. `eos_token_id` is the newline's in a cut vocabulary.
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


def random_model(config: Blip2Config, dtype: Dtype = "float32", seed: int = 0) -> Blip2ForConditionalGeneration:
    """Random weights, made larger than transformers' start so that tokens differ by more than rounding."""
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model.requires_grad_(False).eval().to(DTYPES[dtype])


def benchmark_base(name: str, dtype: Dtype = "float32", seed: int = 0) -> Base:
    """`small` (random, without a processor), or what `load_base` takes. Raises UserError when there is no such base."""
    if name != "small":
        return load_base(name, torch.device("cpu"), dtype)
    model = random_model(small_config(), dtype, seed)
    return Base(name, model, None, shape_of(model.config), dtype)  # no images are read, no text is written


Depths = tuple[int, int, int]


def named_base(name: str) -> Base:
    """`small` with random weights, or what `load_base` takes, on the GPU where there is one."""
    device = best_device()
    return random_base("small", small_config(), device, best_dtype(device)) if name == "small" else load_base(name)


def full(base: Base) -> Depths:
    """Every layer."""
    return base.shape.vision_layers, base.shape.qformer_layers, base.shape.llm_layers
