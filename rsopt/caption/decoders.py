"""Decoders, and captions of images from their vision features. A newline ends a caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.caption.beam_search import beam_search
from rsopt.caption.kv_cache import SharedPrefix
from rsopt.core.inference import BATCH, Generation
from rsopt.model.base import Base
from rsopt.model.prefix import query_prefix

# A decoder: ids of the new tokens only, (images, new tokens), behind embedded prefixes (images, tokens, hidden).
Decode = Callable[[Blip2ForConditionalGeneration, Base, torch.Tensor, Generation], torch.Tensor]


def shared_prefix(
    model: Blip2ForConditionalGeneration,
    base: Base,
    prefix: torch.Tensor,
    generation: Generation,
    steps: SharedPrefix | None = None,
) -> torch.Tensor:
    """Decodes by rsopt.caption.beam_search: the captions of transformers in less time.

    Args:
        model: The model, with its adapter merged or not.
        base: Its base.
        prefix: Embedded prefixes, (images, tokens, hidden).
        generation: Beams and number of new tokens.
        steps: Passed on to `beam_search`.
    """
    end_id, pad_id = base.end_id, base.tokenizer.pad_token_id
    return beam_search(model.language_model, prefix, **asdict(generation), end_id=end_id, pad_id=pad_id, steps=steps)


def transformers_generate(
    model: Blip2ForConditionalGeneration, base: Base, prefix: torch.Tensor, generation: Generation
) -> torch.Tensor:
    """The search of transformers, which `shared_prefix` is checked against."""
    return model.language_model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
        num_beams=generation.beams,
        do_sample=False,
        max_new_tokens=generation.max_new_tokens,
        min_new_tokens=generation.min_new_tokens or None,
        eos_token_id=base.end_id,
        pad_token_id=base.tokenizer.pad_token_id,
        use_cache=True,
    )


@torch.inference_mode()
def caption_features(
    model: Blip2ForConditionalGeneration,
    base: Base,
    features: torch.Tensor,
    generation: Generation = Generation(),  # noqa: B008 - frozen
    batch: int | None = None,
    between_batches: Callable[[], None] | None = None,
    decode: Decode = shared_prefix,
    queried: bool = False,
) -> list[str]:
    """Returns captions of images, one line each, without end token.

    Args:
        model: The model, with its adapter merged or not.
        base: Its base, for tokenizer and special tokens.
        features: Vision features (images, tokens, width).
        generation: Beams and number of new tokens.
        batch: Images at once (default: BATCH of the device).
        between_batches: Called after each batch.
        decode: The decoder.
        queried: Whether the features are outputs of a frozen Q-Former (see TrainingSet).
    """
    captions: list[str] = []
    batch = batch or BATCH[base.device.type]
    for start in range(0, len(features), batch):
        part = features[start : start + batch].to(base.device)
        ids = decode(model, base, prompt(model, base, part, queried), generation)
        captions += [clean(text) for text in base.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        if between_batches:
            between_batches()
    return captions


def prompt(model: Blip2ForConditionalGeneration, base: Base, features: torch.Tensor, queried: bool = False) -> torch.Tensor:
    """Returns the embedded prefix of a caption: query tokens and `</s>`, (images, Q + 1, hidden)."""
    prefix = query_prefix(model, features, queried)
    start = torch.full((len(features), 1), base.start_id, device=features.device)
    return torch.cat([prefix, model.get_input_embeddings()(start).to(prefix.dtype)], dim=1)


def clean(text: str) -> str:
    """Returns the text as one line with single spaces."""
    return " ".join(text.split())
