"""TODO."""

from __future__ import annotations

import torch
from transformers import Blip2ForConditionalGeneration


def qformer_outputs(model: Blip2ForConditionalGeneration, features: torch.Tensor) -> torch.Tensor:
    """The Q-Former over vision features (B, tokens, width): (B, queries, Q-Former width)."""
    queries = model.query_tokens.expand(features.shape[0], -1, -1)
    return model.qformer(query_embeds=queries, encoder_hidden_states=features).last_hidden_state.to(features.dtype)


def query_prefix(model: Blip2ForConditionalGeneration, features: torch.Tensor, queried: bool = False) -> torch.Tensor:
    """Q-Former and projection over vision features (B, tokens, width): the LLM's image prefix (B, Q, hidden)."""
    return model.language_projection(features if queried else qformer_outputs(model, features))
