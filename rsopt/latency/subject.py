"""Subject: a captioner before one image, as sessions time it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.caption.decoders import prompt, shared_prefix, transformers_generate
from rsopt.core.inference import DECODERS, SHARED_PREFIX, Generation
from rsopt.model.base import Base


def random_image(base: Base, seed: int = 0) -> torch.Tensor:
    """Returns random pixel values for bases without a processor, (1, 3, height, width)."""
    side = base.model.config.vision_config.image_size
    values = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return values.to(base.device, base.model.dtype)


def caption_ids(
    decoder: str, model: Blip2ForConditionalGeneration, base: Base, pixel_values: torch.Tensor, generation: Generation
) -> torch.Tensor:
    """Returns ids of the new tokens, (images, new tokens).

    Args:
        decoder: One of DECODERS.
        model: The merged model.
        base: Its base.
        pixel_values: Preprocessed images, (images, 3, height, width).
        generation: Beams and number of new tokens.
    """
    if decoder == SHARED_PREFIX:
        features = model.vision_model(pixel_values).last_hidden_state
        return shared_prefix(model, base, prompt(model, base, features), generation)
    ids = model.generate(
        pixel_values,
        num_beams=generation.beams,
        do_sample=False,
        min_new_tokens=generation.min_new_tokens or None,
        max_new_tokens=generation.max_new_tokens,
        eos_token_id=base.end_id,
        pad_token_id=base.tokenizer.pad_token_id,
    )
    return ids[:, base.model.config.num_query_tokens + 1 :]  # without the prompt


@dataclass(frozen=True, slots=True)
class Subject:
    """A captioner before one image.

    `caption(decoder, least, most)` returns ids of `least` to `most` new tokens, (1, new tokens). `stages(decoder)` returns the
    parts of that, each taking the result of the one before: vision tower, Q-Former with projection, first token.
    """

    caption: Callable[[str, int, int], torch.Tensor]
    stages: Callable[[str], tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]]
    pixel_values: torch.Tensor
    beams: int
    decoders: tuple[str, ...] = DECODERS

    @classmethod
    def of(cls, model: Blip2ForConditionalGeneration, base: Base, pixel_values: torch.Tensor, beams: int) -> Subject:
        """Returns the subject of a merged model over `base` and an image, (1, 3, height, width)."""

        def stages(decoder: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]:
            decode = shared_prefix if decoder == SHARED_PREFIX else transformers_generate
            return (
                lambda pixels: model.vision_model(pixels).last_hidden_state,
                partial(prompt, model, base),
                lambda prefix: decode(model, base, prefix, Generation.of_length(1, beams)),
            )

        def caption(decoder: str, least: int, most: int) -> torch.Tensor:
            return caption_ids(decoder, model, base, pixel_values, Generation(beams, most, least))

        return cls(caption, stages, pixel_values, beams)
