"""Random tokenized captions, and the loss of padded captions to compare with."""

from __future__ import annotations

import numpy as np
import torch

from rsopt.model.prefix import query_prefix
from rsopt.training.dataset import TokenCaption


def padded_loss(model: torch.nn.Module, features: torch.Tensor, captions: list[list[TokenCaption]]) -> torch.Tensor:
    """Loss of one padded row for each caption, repetitions included, by transformers' forward and mask."""
    rows = [(i, c.ids) for i, cs in enumerate(captions) for c in cs for _ in range(int(c.weight))]
    width = max(len(ids) for _, ids in rows)
    ids = torch.ones(len(rows), width, dtype=torch.long)
    for row, (_, tokens) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    prefix = query_prefix(model, features)[torch.tensor([i for i, _ in rows])]  # type: ignore[arg-type]
    embeds = torch.cat([prefix, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([torch.ones(prefix.shape[:2], dtype=torch.long), (ids != 1).long()], dim=1)
    logits = model.language_model(inputs_embeds=embeds, attention_mask=mask).logits[:, prefix.shape[1] : -1]
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == 1, -100)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def random_captions(seed: int, images: int = 4) -> list[list[TokenCaption]]:
    rng = np.random.default_rng(seed)
    return [
        [
            TokenCaption((2, *rng.integers(5, 58, rng.integers(1, 9)).tolist(), 4), float(rng.integers(1, 5)))
            for _ in range(rng.integers(1, 6))
        ]
        for _ in range(images)
    ]
