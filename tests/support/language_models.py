"""Random OPT language models, prefixes for them, and captions decoded by transformers and by rsopt."""

from __future__ import annotations

from typing import Any

import torch
from transformers import OPTForCausalLM

from rsopt.caption.beam_search import beam_search
from tests.support.random_base import random_config

END, PAD = 4, 1


def language_model(
    seed: int, before: bool = True, projected: bool = False, eager: bool = False, end_bias: float = 0.0
) -> OPTForCausalLM:
    """A random OPT with all parameters drawn.

    Args:
        seed: of the parameters.
        before: layer norms before attention.
        projected: with projections between embeddings and layers.
        eager: eager attention.
        end_bias: added to the end token's logit on average.
    """
    torch.manual_seed(seed)
    config = random_config().text_config
    config.do_layer_norm_before = before
    config.word_embed_proj_dim = 16 if projected else config.hidden_size
    model = OPTForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.12)
    if eager:
        model.set_attn_implementation("eager")
    make_end_likelier(model, end_bias)
    return model.requires_grad_(False).eval()


def make_end_likelier(model: OPTForCausalLM, by: float) -> None:
    """Raise the end token's logit by `by` on average, differently for different texts; otherwise captions never end."""
    decoder = model.model.decoder
    norm = decoder.final_layer_norm or decoder.layers[-1].final_layer_norm
    with torch.no_grad():
        norm.bias.fill_(0.5)
        through = decoder.project_out(norm.bias) if decoder.project_out is not None else norm.bias
        decoder.embed_tokens.weight[END] += by * through / through.square().sum()


def prefixes(model: OPTForCausalLM, images: int, tokens: int, seed: int) -> torch.Tensor:
    width = model.config.word_embed_proj_dim
    return torch.randn(images, tokens, width, generator=torch.Generator().manual_seed(seed))


def transformers_ids(model: OPTForCausalLM, prefix: torch.Tensor, beams: int, most: int, **settings: Any) -> torch.Tensor:
    penalty = {k: v for k, v in settings.items() if k != "min_new_tokens"} if beams > 1 else {}
    return model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long),
        num_beams=beams,
        do_sample=False,
        max_new_tokens=most,
        min_new_tokens=settings.get("min_new_tokens") or None,
        eos_token_id=END,
        pad_token_id=PAD,
        **penalty,
    )


def our_ids(model: OPTForCausalLM, prefix: torch.Tensor, beams: int, most: int, **settings: Any) -> torch.Tensor:
    return beam_search(model, prefix, beams=beams, max_new_tokens=most, end_id=END, pad_id=PAD, **settings)


def count_differing(ours: torch.Tensor, theirs: torch.Tensor) -> int:
    """Return how many captions differ; all if the shapes differ."""
    return int((ours != theirs).any(1).sum()) if ours.shape == theirs.shape else len(ours)
