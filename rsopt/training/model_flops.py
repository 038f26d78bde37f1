"""FLOPs that training needs, for the share of the device's measured peak (MFU)."""

from __future__ import annotations

from collections.abc import Sequence

from rsopt.model.build import Built
from rsopt.training.dataset import TokenCaption


def training_flops(built: Built, captions: Sequence[Sequence[TokenCaption]], qformer_macs: float = 0.0) -> float:
    """Returns FLOPs of one epoch over these images: frozen weights forward, and backward to activations.

    Counts the head at predicted tokens only, and no adapters, padding or recomputation, so that MFU is a lower bound.
    `qformer_macs`: multiply-adds an image of the Q-Former, where its outputs are not cached.
    """
    weights = built.model.language_model.model.decoder.layers.named_parameters()
    layers = sum(p.numel() for name, p in weights if p.dim() == 2 and "lora_" not in name)
    head = built.model.get_input_embeddings().weight.numel()
    text = sum(len(c.ids) for of_image in captions for c in of_image)
    targets = text - sum(map(len, captions))
    positions = len(captions) * built.model.query_tokens.shape[1] + text
    macs = layers * positions + head * targets + qformer_macs * len(captions)
    return 2.0 * 2.0 * macs  # two FLOPs a multiply-add; forward and backward
