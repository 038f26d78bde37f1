"""Caption loss of packed and padded batches, for training and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional
from transformers import Blip2ForConditionalGeneration

from rsopt.model.build import Built
from rsopt.model.prefix import query_prefix
from rsopt.training.dataset import Packed, TrainingSet, move, pack

# (features, batch, its indices in the training set) -> loss to minimise and caption loss, both summed over the targets.
Losses = Callable[[torch.Tensor, Packed, Sequence[int]], tuple[torch.Tensor, torch.Tensor]]


def packed_loss(
    model: Blip2ForConditionalGeneration, features: torch.Tensor, batch: Packed, queried: bool = False
) -> torch.Tensor:
    """Returns the mean cross-entropy over target tokens, each weighted by its caption's repetitions. A float32 scalar."""
    return summed_loss(model, features, batch, queried) / batch.weights.sum()


def summed_loss(
    model: Blip2ForConditionalGeneration, features: torch.Tensor, batch: Packed, queried: bool = False
) -> torch.Tensor:
    """Returns the weighted sum of cross-entropies over target tokens: `packed_loss` before its division."""
    return caption_loss(caption_logits(model, features, batch, queried), batch)


def caption_logits(
    model: Blip2ForConditionalGeneration, features: torch.Tensor, batch: Packed, queried: bool = False
) -> torch.Tensor:
    """Returns the model's logits at the targets, (N, vocabulary), in float32."""
    decoder = model.language_model.model.decoder
    prefix = query_prefix(model, features, queried)
    embeds = torch.cat([prefix, decoder.embed_tokens(batch.ids).to(prefix.dtype)], dim=1)
    mask = torch.zeros(batch.visible.shape, dtype=embeds.dtype, device=embeds.device)
    mask.masked_fill_(~batch.visible, torch.finfo(embeds.dtype).min)
    hidden = decoder(inputs_embeds=embeds, attention_mask=mask, position_ids=batch.positions, use_cache=False)
    text = hidden.last_hidden_state[:, prefix.shape[1] :].flatten(0, 1)
    return model.language_model.lm_head(text[batch.chosen]).float()


def caption_loss(logits: torch.Tensor, batch: Packed) -> torch.Tensor:
    """Returns the weighted sum of cross-entropies of logits (N, vocabulary) at the targets. A scalar."""
    losses = functional.cross_entropy(logits, batch.targets.flatten()[batch.chosen], reduction="none")
    return (losses * batch.weights.flatten()[batch.chosen]).sum()


def packed_batch(
    model: Blip2ForConditionalGeneration, data: TrainingSet, chosen: Sequence[int], pad_id: int
) -> tuple[torch.Tensor, Packed]:
    """Returns features (B, tokens, width) and packed captions of the chosen images, on the model's device."""
    device = model.query_tokens.device
    packed = pack([data.captions[i] for i in chosen], model.query_tokens.shape[1], pad_id)
    batch = Packed(*(move(getattr(packed, name), device) for name in Packed.__slots__))
    return move(data.features_of(chosen), device), batch


@torch.inference_mode()
def validation_loss(model: Blip2ForConditionalGeneration, data: TrainingSet, pad_id: int, batch_images: int = 32) -> float:
    """Returns the weighted mean loss a token over `data`, in nats, without training."""
    total = weight = 0.0
    for start in range(0, len(data.captions), batch_images):
        chosen = range(start, min(start + batch_images, len(data.captions)))
        features, batch = packed_batch(model, data, chosen, pad_id)
        total += summed_loss(model, features, batch, data.queried).item()
        weight += sum(c.weight * (len(c.ids) - 1) for i in chosen for c in data.captions[i])
    return total / weight


@torch.inference_mode()
def padded_loss(built: Built, data: TrainingSet, chosen: Sequence[int]) -> float:
    """Returns the loss with every caption in a row of its own, which `packed_loss` must equal. For checks."""
    model, device = built.model, built.model.query_tokens.device
    total = weight = 0.0
    for image in chosen:
        prefix = query_prefix(model, data.features[image : image + 1].to(device), data.queried)
        for caption in data.captions[image]:
            ids = torch.tensor([caption.ids], device=device)
            embeds = torch.cat([prefix, model.get_input_embeddings()(ids).to(prefix.dtype)], dim=1)
            logits = model.language_model(inputs_embeds=embeds).logits[0, prefix.shape[1] : -1].float()
            total += caption.weight * functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
            weight += caption.weight * (len(caption.ids) - 1)
    return total / weight
