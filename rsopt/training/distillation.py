"""Distillation: what a teacher's kept answers add to the caption loss of a pruned variant.

Where something is predicted, the student is drawn to the teacher's likeliest tokens, and at each cut, the place where LLM layers
were dropped, its hidden state is drawn to what the teacher had behind the last layer that is missing there.
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

Cut = tuple[int, int]  # (which of the student's layers, which of the base's layers)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a teacher says at every target of the packed training split, in order; all memory-mapped.

    `ids` and `log_p`: its likeliest tokens and their log-probabilities, (targets, k). `hidden`: LLM layer of the base -> what
    comes out of it, (targets, hidden).
    """

    ids: np.ndarray
    log_p: np.ndarray
    hidden: Mapping[int, torch.Tensor]


def cuts(kept: Sequence[int], depth: int) -> tuple[Cut, ...]:
    """Where layers were dropped behind a kept one: the student's layer, and the base's layer whose output it should have."""
    following = (*kept[1:], depth)
    return tuple((i, after - 1) for i, (own, after) in enumerate(zip(kept, following, strict=True)) if after > own + 1)


class Distiller:
    """The losses of one student (trainer.Losses). `answers` hold the hidden states of its cuts, where those have a weight."""

    def __init__(self, built: Built, data: TrainingSet, answers: Answers, recipe: Recipe, depth: int) -> None:
        self.model, self.data, self.answers, self.recipe = built.model, data, answers, recipe
        self.cuts = cuts(built.variant.llm_layers, depth) if recipe.distill_hidden > 0 else ()
        self._starts = data.starts or target_starts(data.captions)
        self._counts = [sum(len(c.ids) - 1 for c in own) for own in data.captions]

    def __call__(self, features: torch.Tensor, batch: Packed, part: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """What is minimised and the caption loss within it, both weighted sums over the targets of `part`."""
        with recorded_outputs(self.model, [layer for layer, _ in self.cuts], batch) as heard:
            logits = caption_logits(self.model, features, batch, self.data.queried)
        total = caption = caption_loss(logits, batch)
        rows = np.concatenate([np.arange(self._starts[i], self._starts[i] + self._counts[i]) for i in part])
        weights = batch.weights.flatten()[batch.chosen]
        if self.recipe.distill_logits > 0:
            total = total + self.recipe.distill_logits * self._from_logits(logits, rows, weights)
        for layer, taught in self.cuts:
            target = move(self.answers.hidden[taught][torch.from_numpy(rows)], logits.device).float()
            away = (heard[layer].float() - target).square().sum(-1) / target.square().sum(-1)
            total = total + self.recipe.distill_hidden / len(self.cuts) * (away * weights).sum()
        return total, caption.detach()

    def _from_logits(self, logits: torch.Tensor, rows: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
        """Divergence from the teacher among its likeliest tokens, times the temperature squared.

        Both are taken as if there were no others: with the student's whole distribution in its place, the probability that the
        teacher gives to tokens that were not kept would be driven to nothing, the more the higher the temperature.
        """
        temperature = self.recipe.distill_temperature
        ids = move(torch.from_numpy(self.answers.ids[rows].astype(np.int64)), logits.device)
        log_p = move(torch.from_numpy(self.answers.log_p[rows].astype(np.float32)), logits.device)
        teacher = functional.log_softmax(log_p / temperature, dim=-1)
        student = functional.log_softmax(logits.gather(1, ids) / temperature, dim=-1)
        return temperature**2 * ((teacher.exp() * (teacher - student)).sum(-1) * weights).sum()


@contextmanager
def recorded_outputs(model: Any, layers: Sequence[int], batch: Packed) -> Iterator[dict[int, torch.Tensor]]:
    """Outputs of these LLM layers where something is predicted, (N, hidden) by layer, of a forward pass made inside."""
    heard: dict[int, torch.Tensor] = {}
    decoder, queries = model.language_model.model.decoder, model.query_tokens.shape[1]

    def hook(layer: int) -> Any:
        def after(_: torch.nn.Module, __: tuple[object, ...], output: torch.Tensor) -> None:
            heard[layer] = output[:, queries:].flatten(0, 1)[batch.chosen]

        return after

    handles = [decoder.layers[layer].register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
