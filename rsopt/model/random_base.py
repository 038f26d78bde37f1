"""A base with random weights, for latency and memory, which depend on shapes alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.core.variant import Dtype
from rsopt.model.base import DTYPES, Base
from rsopt.model.configs import shape_of


class NumberTokenizer:
    """Replaces a tokenizer: a caption is its token ids."""

    pad_token_id = 1

    def batch_decode(self, ids: torch.Tensor, skip_special_tokens: bool = True) -> list[str]:
        """Returns ids separated by spaces, without padding."""
        return [" ".join(str(t) for t in row if t != self.pad_token_id) for row in ids.tolist()]


def random_base(name: str, config: Blip2Config, device: torch.device, dtype: Dtype, seed: int = 0) -> Base:
    """Returns a base with random weights. It has no image processor.

    Args:
        name: Its name, to which "(random weights)" is added.
        config: Its configuration.
        device: Where the weights are made.
        dtype: In which they are made.
        seed: Of the weights.
    """
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])  # made in float32 first, a model that fits in half precision might not fit
    try:
        with torch.device(device):
            model = Blip2ForConditionalGeneration(config)
            with torch.no_grad():  # logits of tokens must differ by more than rounding
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.02)
    finally:
        torch.set_default_dtype(before)
    model.requires_grad_(False).eval()
    processor: Any = SimpleNamespace(tokenizer=NumberTokenizer(), image_processor=None)
    return Base(f"{name} (random weights)", model, processor, shape_of(config), dtype)
