"""Training of a built variant: packed caption loss over cached features, from one share of the budget to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint

from rsopt.core.recipe import Recipe
from rsopt.errors import CandidateError, InfrastructureError
from rsopt.model.build import Built
from rsopt.training.dataset import TrainingSet, batches
from rsopt.training.fused_lora import fuse
from rsopt.training.losses import Losses, packed_batch, summed_loss
from rsopt.training.micro_batches import MicroBatches, PlanOf
from rsopt.training.optimizer import Stepper, learning_rate_share


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of `Trainer.run`: steps, mean loss of the last tenth of them, images and predicted tokens.

    `micro_images` is the most images a forward pass since memory last ran out. `losses` are the
    caption losses by step, without a teacher's terms.
    """

    steps: int
    loss: float
    images: int
    tokens: int = 0
    micro_images: int = 0
    losses: tuple[float, ...] = ()


@contextmanager
def recomputed(llm: Any) -> Iterator[None]:
    """Checkpoints the activations of each decoder layer of an OPT within the block (torch.utils.checkpoint).

    transformers' own switch works in training mode only, where the base's dropout would be on.
    """
    layers = llm.model.decoder.layers
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class Trainer:
    """Optimizer and schedule of one candidate. Data order depends on (seed, epoch) alone, so that legs equal one training.

    Args:
        built: The variant to train.
        data: Features and captions of the training split.
        recipe: How to tune.
        seed: Of data order and dropout.
        pad_id: The padding token.
        plan: Images a forward pass, by the tokens of the longest (default: the whole batch); halved when memory runs out.
        fused: Whether to use the fused LoRA.
        losses: Loss to minimise instead of the caption loss, with a teacher's terms.
    """

    def __init__(
        self,
        built: Built,
        data: TrainingSet,
        recipe: Recipe,
        seed: int,
        pad_id: int,
        plan: PlanOf | None = None,
        fused: bool = True,
        losses: Losses | None = None,
    ) -> None:
        self.losses, self.plan, self.recomputed = losses, plan, False
        self.built, self.data, self.recipe, self.seed, self.pad_id = built, data, recipe, seed, pad_id
        if fused:
            fuse(built.model)
        scaled = built.model.language_model.dtype == torch.float16
        self.lengths = [sum(len(c.ids) for c in captions) for captions in data.captions]
        self.micro = MicroBatches(recipe.batch_images, self.lengths, plan)
        self.stepper = Stepper(built.trainable(), recipe, scaled, self.micro)
        self.steps_per_epoch = math.ceil(len(data.captions) / recipe.batch_images)
        self.total_steps = max(1, round(recipe.epochs * self.steps_per_epoch))
        self.weights = [sum(c.weight * (len(c.ids) - 1) for c in captions) for captions in data.captions]

    def run(self, start: float, stop: float, between_steps: Callable[[], None] | None = None) -> TrainResult:
        """Trains from share `start` to share `stop` of the budget. Raises CandidateError when the loss is not finite."""
        first, last = round(start * self.total_steps), round(stop * self.total_steps)
        self.drop(True)
        losses: list[torch.Tensor] = []
        images, tokens, epoch, order = 0, 0, -1, list[list[int]]()
        for step in range(first, last):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                rng = np.random.default_rng([self.seed, epoch])
                order = list(batches(self.lengths, self.recipe.batch_images, rng))
            chosen = order[step % self.steps_per_epoch]
            losses.append(self.step(step, chosen))
            images += len(chosen)
            tokens += sum(self.lengths[i] - len(self.data.captions[i]) for i in chosen)
            if step % 20 == 0:
                self._check(losses[-1], step)
            if between_steps:
                between_steps()
        self.drop(False)
        if not losses:
            return TrainResult(0, math.nan, 0)
        self._check(losses[-1], last)
        values = torch.stack(losses).tolist()
        tail = values[-max(1, len(values) // 10) :]
        return TrainResult(len(values), sum(tail) / len(tail), images, tokens, self.micro.largest, tuple(values))

    def drop(self, on: bool) -> None:
        """Switches LoRA's dropout. The base's stays off, which packing requires."""
        for name, module in self.built.model.named_modules():
            if ".lora_dropout." in name:
                module.train(on)

    def step(self, step: int, chosen: Sequence[int]) -> torch.Tensor:
        """Trains on the images `chosen` as step `step` of the whole budget; returns the caption loss without waiting for it."""
        lora = self.built.variant.lora
        if lora is not None and lora.dropout > 0:  # masks depend on (seed, step) alone
            torch.manual_seed((self.seed * 1_000_003 + step) % 2**63)
        total = sum(self.weights[i] for i in chosen)  # of the whole batch, so that the losses of micro-batches add up to its mean

        def backward(part: Sequence[int], scale: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
            features, batch = packed_batch(self.built.model, self.data, part, self.pad_id)
            recompute = self.plan is not None and self.plan(self.micro.longest(part)).recompute
            self.recomputed |= recompute  # less memory, a third more compute
            with recomputed(self.built.model.language_model) if recompute else nullcontext():
                if self.losses is None:
                    minimised = loss = summed_loss(self.built.model, features, batch, self.data.queried) / total
                else:
                    minimised, loss = (x / total for x in self.losses(features, batch, part))
            scale(minimised).backward()
            return loss.detach()

        lr = self.recipe.lr * learning_rate_share(step, self.total_steps, self.recipe.warmup_share)
        return self.stepper.step(chosen, lr, backward)

    def _check(self, loss: torch.Tensor, step: int) -> None:
        if not math.isfinite(value := loss.item()):
            raise CandidateError("nan", f"training loss is {value} at step {step} of {self.total_steps}")

    def save(self, path: Path) -> None:
        """Saves adapter weights and optimizer moments as safetensors. Raises InfrastructureError on a full disk."""
        try:
            save_file(self.stepper.state(), path)
        except SafetensorError as error:
            raise InfrastructureError(f"{path} cannot be written: {error}") from error

    def load(self, path: Path) -> None:
        """Loads what `save` wrote. Raises ValueError when the file is of another candidate or damaged."""
        try:
            state = load_file(path)
            self.stepper.load_state(state)
        except (ValueError, SafetensorError) as error:
            raise ValueError(f"{path}: {error}") from error
