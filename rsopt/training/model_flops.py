"""Model FLOPs of a stretch of training, and the share of the device's measured peak that they make (MFU)."""

from __future__ import annotations

from collections.abc import Sequence

from rsopt.model.build import Built
from rsopt.training.dataset import TokenCaption


def training_flops(built: Built, captions: Sequence[Sequence[TokenCaption]], qformer_macs: float = 0.0) -> float:
    """FLOPs that training must do for one epoch over these images: frozen weights forward, and backward to activations.

    Counted are positions that hold something, the head at predicted tokens, no adapter, no padding and nothing recomputed,
    so the share of a peak made from it is a lower bound. `qformer_macs`: multiply-adds of an image where it is not cached.
    """
    weights = built.model.language_model.model.decoder.layers.named_parameters()
    layers = sum(p.numel() for name, p in weights if p.dim() == 2 and "lora_" not in name)
    head = built.model.get_input_embeddings().weight.numel()
    text = sum(len(c.ids) for own in captions for c in own)
    targets = text - sum(len(own) for own in captions)
    positions = len(captions) * built.model.query_tokens.shape[1] + text
    macs = layers * positions + head * targets + qformer_macs * len(captions)
    return 2.0 * 2.0 * macs  # a multiply-add is two; forward and backward
