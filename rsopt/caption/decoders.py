"""Captioning: beam search over vision features, as the protocol asks: 5 beams, at most 50 new tokens, newline ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.caption.beam_search import beam_search
from rsopt.caption.kv_cache import SharedPrefix
from rsopt.core.inference import BATCH, BEAMS, MAX_NEW_TOKENS
from rsopt.model.base import Base
from rsopt.model.prefix import query_prefix


class Decode(Protocol):
    """A decoder: ids of the new tokens only, (images, new tokens), behind embedded prefixes (images, tokens, hidden)."""

    def __call__(
        self,
        model: Blip2ForConditionalGeneration,
        base: Base,
        prefix: torch.Tensor,
        beams: int,
        max_new_tokens: int,
        min_new_tokens: int = 0,
    ) -> torch.Tensor: ...


def shared_prefix(
    model: Blip2ForConditionalGeneration,
    base: Base,
    prefix: torch.Tensor,
    beams: int,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    steps: SharedPrefix | None = None,
) -> torch.Tensor:
    """Our beam search, which reads each image once: the same captions in less time (`beam_search`, which explains `steps`)."""
    return beam_search(
        model.language_model,
        prefix,
        beams=beams,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        end_id=base.end_id,
        pad_id=base.tokenizer.pad_token_id,
        steps=steps,
    )


def transformers_generate(
    model: Blip2ForConditionalGeneration,
    base: Base,
    prefix: torch.Tensor,
    beams: int,
    max_new_tokens: int,
    min_new_tokens: int = 0,
) -> torch.Tensor:
    """transformers' own search: what ours is checked against. The prompt is given as embeddings: none of it comes back."""
    return model.language_model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
        num_beams=beams,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens or None,
        eos_token_id=base.end_id,
        pad_token_id=base.tokenizer.pad_token_id,
        use_cache=True,
    )


@torch.inference_mode()
def caption_features(
    model: Blip2ForConditionalGeneration,
    base: Base,
    features: torch.Tensor,
    beams: int = BEAMS,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch: int | None = None,
    between_batches: Callable[[], None] | None = None,
    decode: Decode = shared_prefix,
    queried: bool = False,
) -> list[str]:
    """Captions of images given their vision features (images, tokens, width); one line each, without end token.

    `queried`: the features are what a frozen Q-Former read from the images (see TrainingSet).
    """
    captions: list[str] = []
    batch = batch or BATCH[base.device.type]
    for start in range(0, len(features), batch):
        part = features[start : start + batch].to(base.device)
        ids = decode(model, base, prompt(model, base, part, queried), beams, max_new_tokens)
        captions += [clean(text) for text in base.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        if between_batches:
            between_batches()
    return captions


def prompt(
    model: Blip2ForConditionalGeneration, base: Base, features: torch.Tensor, queried: bool = False
) -> torch.Tensor:
    """All that stands before a caption, embedded: query tokens and `</s>`, (images, Q + 1, hidden)."""
    prefix = query_prefix(model, features, queried)
    start = torch.full((len(features), 1), base.start_id, device=features.device)
    return torch.cat([prefix, model.get_input_embeddings()(start).to(prefix.dtype)], dim=1)


def clean(text: str) -> str:
    """One line, single spaces."""
    return " ".join(text.split())
