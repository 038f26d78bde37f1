"""The image prefix of the LLM: Q-Former and projection over vision features."""

from __future__ import annotations

import torch
from transformers import Blip2ForConditionalGeneration


def qformer_outputs(model: Blip2ForConditionalGeneration, features: torch.Tensor) -> torch.Tensor:
    """Returns Q-Former outputs (B, queries, Q-Former width) over vision features (B, tokens, width)."""
    queries = model.query_tokens.expand(features.shape[0], -1, -1)
    return model.qformer(query_embeds=queries, encoder_hidden_states=features).last_hidden_state.to(features.dtype)


def query_prefix(model: Blip2ForConditionalGeneration, features: torch.Tensor, queried: bool = False) -> torch.Tensor:
    """Returns the LLM's image prefix (B, queries, hidden) over vision features, or over Q-Former outputs if `queried`."""
    return model.language_projection(features if queried else qformer_outputs(model, features))
