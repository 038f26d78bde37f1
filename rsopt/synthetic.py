"""Stand-ins where no weights or data are at hand: a base of random weights, captions of RSICD's lengths and repetition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.base import DTYPES, Base
from rsopt.configs import shape_of
from rsopt.core.variant import Dtype
from rsopt.pack import TokenCaption

# RSICD: images with 1 to 5 distinct captions among their 5, and words of a distinct caption.
_DISTINCT = np.array([4853, 1667, 2182, 1495, 724]) / 10921
_WORDS, _WORDS_SD = 10.8, 3.4


class NumberTokenizer:
    """Stands in for a tokenizer: a caption is its numbers."""

    pad_token_id = 1

    def batch_decode(self, ids: torch.Tensor, skip_special_tokens: bool = True) -> list[str]:
        """Numbers with spaces between, padding left out."""
        return [" ".join(str(t) for t in row if t != self.pad_token_id) for row in ids.tolist()]


def random_base(name: str, config: Blip2Config, device: torch.device, dtype: Dtype, seed: int = 0) -> Base:
    """A base of this configuration with random weights, made in `dtype` on `device`. It has no image processor."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])  # in float32 first, a model that fits in half precision might not
    try:
        with torch.device(device):
            model = Blip2ForConditionalGeneration(config)
            with torch.no_grad():  # tokens must differ by more than rounding
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.02)
    finally:
        torch.set_default_dtype(before)
    model.requires_grad_(False).eval()
    processor: Any = SimpleNamespace(tokenizer=NumberTokenizer(), image_processor=None)
    return Base(f"{name} (random weights)", model, processor, shape_of(config), dtype)


def random_captions(base: Base, images: int, seed: int = 0) -> list[list[TokenCaption]]:
    """Distinct captions of each image with their repetition; five captions an image in all."""
    rng = np.random.default_rng(seed)
    vocabulary = base.model.config.text_config.vocab_size

    def caption() -> tuple[int, ...]:
        length = max(3, round(rng.normal(_WORDS, _WORDS_SD)))
        return (base.start_id, *rng.integers(vocabulary // 4, vocabulary - 8, length).tolist(), base.end_id)

    found = []
    for _ in range(images):
        distinct = [caption() for _ in range(1 + int(rng.choice(5, p=_DISTINCT)))]
        five = (distinct * 5)[:5]
        found.append([TokenCaption(ids, float(five.count(ids))) for ids in distinct])
    return found
