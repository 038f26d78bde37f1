"""Probe heads of the pretraining, which are dropped after it: linear layers over patches and queries, with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2ForConditionalGeneration

from research.tiny_world.corpus import SIDE, UNKNOWN, Pictures
from research.tiny_world.words import COLOUR_NAMES, COUNTED, FACTS, KINDS

_SHOWN = ("count_plane", "colour_plane", "count_tank", "roads", "rows", "land_left", "water_shape")


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of a batch: cover (B, P, K) in 0..1, centres (B, P), tints (B, P), facts (B, F)."""

    cover: Tensor
    centres: Tensor
    tints: Tensor
    facts: Tensor

    def turned(self, turn: int, flip: bool) -> Targets:
        """Targets of the pictures rotated by `turn` quarters and then, if `flip`, mirrored; facts do not change."""

        def one(table: Tensor) -> Tensor:
            square = torch.rot90(table.view(len(table), SIDE, SIDE, -1), turn, (1, 2))
            return (square.flip(2) if flip else square).reshape(table.shape)

        return Targets(one(self.cover), one(self.centres), one(self.tints), self.facts)

    @classmethod
    def of(cls, pictures: Pictures, rows: np.ndarray) -> Targets:
        """Targets of the pictures with indices `rows`."""
        cover, centres = (torch.from_numpy(pictures.cover[rows]).float() / 255, torch.from_numpy(pictures.centres[rows]).long())
        return cls(cover, centres, torch.from_numpy(pictures.tints[rows]), torch.from_numpy(pictures.facts[rows]))


def _regions(patches: Tensor, grid: int) -> Tensor:
    """(B, P, C) over SIDE x SIDE patches to (B, grid*grid, patches in a region, C)."""
    step = SIDE // grid
    table = patches.view(len(patches), grid, step, grid, step, -1).transpose(2, 3)
    return table.reshape(len(patches), grid * grid, step * step, -1)


@contextmanager
def attention_losses(model: Blip2ForConditionalGeneration, grid: int) -> Iterator[list[Tensor]]:
    """Within the block, each forward pass of a cross-attention layer appends an auxiliary loss to the list.

    The loss is -log of the attention of query i to the patches of region i, averaged over the first half of the heads. Without it
    a Q-Former needs tens of thousands of steps until its queries attend to different places; with it, a few hundred.
    """
    terms: list[Tensor] = []
    regions = _regions(torch.eye(SIDE * SIDE).view(1, SIDE * SIDE, -1), grid)[0].sum(
        1
    )  # (regions, patches), 1 where a patch is in a region

    def add_loss(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
        attention = module.attention
        heads, width = attention.num_attention_heads, attention.attention_head_size
        queries = args[0] if args else kwargs["hidden_states"]
        seen = kwargs["encoder_hidden_states"] if "encoder_hidden_states" in kwargs else args[2]

        def split(x: Tensor) -> Tensor:
            return x.float().view(*x.shape[:2], heads, width).transpose(1, 2)[:, : heads // 2]

        logits = split(attention.query(queries)) @ split(attention.key(seen)).transpose(-1, -2) / width**0.5
        share = (logits.softmax(-1)[..., 1:] * regions).sum(-1)  # the first position is the class token
        terms.append(-share.clamp(min=1e-6).log().mean())

    layers = [layer.crossattention for layer in model.qformer.encoder.layer if layer.has_cross_attention]
    hooks = [layer.register_forward_hook(add_loss, with_kwargs=True) for layer in layers]
    try:
        yield terms
    finally:
        for hook in hooks:
            hook.remove()


class Heads(nn.Module):
    """Predicts kinds, centres and colours from patches, a region from each query, and facts from all queries together."""

    def __init__(self, width: int, query_width: int, queries: int) -> None:
        super().__init__()
        self.grid = int(queries**0.5)
        if self.grid**2 != queries or SIDE % self.grid:
            raise ValueError(f"{queries} queries do not tile {SIDE} x {SIDE} patches")
        self.cover = nn.Linear(width, len(KINDS))
        self.centre = nn.Linear(width, 1 + len(COUNTED))
        self.tint = nn.Linear(width, len(COLOUR_NAMES))
        self.region = nn.Linear(query_width, len(KINDS) + len(COUNTED) + len(COLOUR_NAMES))
        self.facts = nn.Linear(query_width * queries, sum(FACTS.values()))

    @classmethod
    def of(cls, model: Blip2ForConditionalGeneration) -> Heads:
        """Heads for the widths of a model."""
        config = model.config
        return cls(config.vision_config.hidden_size, config.qformer_config.hidden_size, config.num_query_tokens)

    def loss(self, seen: Tensor, queries: Tensor, known: Targets) -> Tensor:
        """Loss of all heads, given outputs of the vision tower (B, 1+P, D) and of the Q-Former (B, Q, D')."""
        return self.patch_loss(seen[:, 1:], known) + self.query_loss(queries, known)

    def query_loss(self, queries: Tensor, known: Targets) -> Tensor:
        """Loss of regions, predicted from their queries, and of facts."""
        logits, targets = self.region(queries), self._region_targets(known)
        # Most regions hold no centre of most kinds: without the weight, predicting none would be best
        weight = torch.ones(targets.shape[-1])
        weight[len(KINDS) :] = 4.0
        regions = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
        return 8 * regions + 3 * self._facts_loss(queries, known.facts)

    def patch_loss(self, patches: Tensor, known: Targets) -> Tensor:
        """Loss of kinds, centres and colours, predicted from patches (B, P, D)."""
        loss = 5 * F.binary_cross_entropy_with_logits(self.cover(patches), known.cover)
        weight = torch.tensor([0.3] + [1.0] * len(COUNTED))
        loss = loss + 2 * F.cross_entropy(self.centre(patches).flatten(0, 1), known.centres.flatten(), weight)
        return loss + F.cross_entropy(self.tint(patches).flatten(0, 1), known.tints.flatten(), ignore_index=UNKNOWN)

    @torch.no_grad()
    def centre_recall(self, patches: Tensor, known: Targets, kind: str) -> float:
        """Share of the patches with the centre of a `kind` for which that is predicted."""
        has_centre = known.centres == 1 + COUNTED.index(kind)
        return float((self.centre(patches).argmax(-1) == known.centres)[has_centre].float().mean())

    def _region_targets(self, known: Targets) -> Tensor:
        """(B, Q, K + counted + colours): kinds that cover a region, centres in it, and their colours."""
        centres = F.one_hot(known.centres, 1 + len(COUNTED))[..., 1:].float()
        tints = F.one_hot(known.tints.clamp(min=0), len(COLOUR_NAMES)).float() * (known.tints >= 0).unsqueeze(-1)
        cover, held = (_regions(known.cover, self.grid).mean(2), _regions(torch.cat([centres, tints], -1), self.grid).amax(2))
        return torch.cat([cover, held], -1)

    def _facts_loss(self, queries: Tensor, facts: Tensor) -> Tensor:
        terms = []
        for i, (name, logits) in enumerate(self._fact_logits(queries).items()):
            # most pictures have no plane: "none" must not outweigh the counts
            weight = torch.ones(logits.shape[1])
            weight[0] = 0.25 if name.startswith("count_") else 1.0
            if (facts[:, i] >= 0).any():  # 0/0 for a fact that no picture of the batch has
                terms.append(F.cross_entropy(logits, facts[:, i], weight, ignore_index=UNKNOWN))
        return torch.stack(terms).mean()

    def _fact_logits(self, queries: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes) by fact."""
        return dict(zip(FACTS, self.facts(queries.flatten(1)).split(list(FACTS.values()), dim=1), strict=True))

    @torch.no_grad()
    def report(self, queries: Tensor, known: Targets) -> str:
        """Accuracy over non-zero facts, for some of the facts."""
        logits, names, shares = self._fact_logits(queries), list(FACTS), []
        for name in _SHOWN:
            truth = known.facts[:, names.index(name)]
            right = (logits[name].argmax(1) == truth)[truth > 0]
            shares.append(f"{name} {right.float().mean():.2f}")
        return " ".join(shares)
