"""Distillation: terms that stored answers of a teacher add to the caption loss of a pruned variant.

At each target, the student learns the probabilities of the teacher's likeliest tokens. At each cut, where LLM layers were
dropped, it learns the hidden state that the teacher has behind the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rsopt.core.recipe import Recipe
from rsopt.model.build import Built
from rsopt.training.dataset import Packed, TrainingSet, move, target_starts
from rsopt.training.losses import caption_logits, caption_loss

Cut = tuple[int, int]  # (layer of the student, layer of the base)


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs of a teacher at every target of the packed training split, in order; memory-mapped.

    `ids` and `log_p` are its likeliest tokens and their log-probabilities, (targets, k). `hidden` maps LLM layers of the base to
    their outputs, (targets, hidden).
    """

    ids: np.ndarray
    log_p: np.ndarray
    hidden: Mapping[int, torch.Tensor]


def cuts(layers: Sequence[int], depth: int) -> tuple[Cut, ...]:
    """Returns each student layer behind which layers of the base were dropped, and the last of those, whose output it learns.

    `layers` are the kept layers of a base of `depth` layers.
    """
    following = (*layers[1:], depth)
    pairs = zip(layers, following, strict=True)
    return tuple((i, after - 1) for i, (layer, after) in enumerate(pairs) if after > layer + 1)


class Distiller:
    """Losses of one student. `answers` hold the hidden states of its cuts if the recipe weights them; `depth` is the base's."""

    def __init__(self, built: Built, data: TrainingSet, answers: Answers, recipe: Recipe, depth: int) -> None:
        self.model, self.data, self.answers, self.recipe = built.model, data, answers, recipe
        self.cuts = cuts(built.variant.llm_layers, depth) if recipe.distill_hidden > 0 else ()
        self._starts = data.starts or target_starts(data.captions)
        self._counts = [sum(len(c.ids) - 1 for c in of_image) for of_image in data.captions]

    def __call__(self, features: torch.Tensor, batch: Packed, part: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the loss to minimise and the caption loss in it, both weighted sums over the targets of `part`."""
        with recorded_outputs(self.model, [layer for layer, _ in self.cuts], batch) as outputs:
            logits = caption_logits(self.model, features, batch, self.data.queried)
        total = caption = caption_loss(logits, batch)
        rows = np.concatenate([np.arange(self._starts[i], self._starts[i] + self._counts[i]) for i in part])
        weights = batch.weights.flatten()[batch.chosen]
        if self.recipe.distill_logits > 0:
            total = total + self.recipe.distill_logits * self._from_logits(logits, rows, weights)
        for layer, taught in self.cuts:
            target = move(self.answers.hidden[taught][torch.from_numpy(rows)], logits.device).float()
            distance = (outputs[layer].float() - target).square().sum(-1) / target.square().sum(-1)
            total = total + self.recipe.distill_hidden / len(self.cuts) * (distance * weights).sum()
        return total, caption.detach()

    def _from_logits(self, logits: torch.Tensor, rows: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
        """Returns the divergence from the teacher over its likeliest tokens, times the temperature squared.

        Both distributions are normalised over these tokens. With the student's whole distribution, the probability of all other
        tokens would be driven to zero, more so at a higher temperature.
        """
        temperature = self.recipe.distill_temperature
        ids = move(torch.from_numpy(self.answers.ids[rows].astype(np.int64)), logits.device)
        log_p = move(torch.from_numpy(self.answers.log_p[rows].astype(np.float32)), logits.device)
        teacher = functional.log_softmax(log_p / temperature, dim=-1)
        student = functional.log_softmax(logits.gather(1, ids) / temperature, dim=-1)
        return temperature**2 * ((teacher.exp() * (teacher - student)).sum(-1) * weights).sum()


@contextmanager
def recorded_outputs(model: Any, layers: Sequence[int], batch: Packed) -> Iterator[dict[int, torch.Tensor]]:
    """Yields a dict that a forward pass inside the block fills: outputs of these LLM layers at the targets, (N, hidden)."""
    outputs: dict[int, torch.Tensor] = {}
    decoder, queries = model.language_model.model.decoder, model.query_tokens.shape[1]

    def hook(layer: int) -> Any:
        def after(_: torch.nn.Module, __: tuple[object, ...], output: torch.Tensor) -> None:
            outputs[layer] = output[:, queries:].flatten(0, 1)[batch.chosen]

        return after

    handles = [decoder.layers[layer].register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
