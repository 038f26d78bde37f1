"""Training of a baseline in stages. It runs from one share of its budget to another, so that it can be run in legs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rsopt.baselines.schedules import Plan
from rsopt.core.recipe import Recipe
from rsopt.errors import CandidateError, InfrastructureError
from rsopt.training.micro_batches import MicroBatches
from rsopt.training.optimizer import Stepper
from rsopt.training.trainer import TrainResult

Loss = Callable[[Sequence[int]], torch.Tensor]  # mean loss over images of the training split, by index


class Stage:
    """One stage: optimiser, order of images and loss. Its random numbers depend on (seed, stage, step) alone.

    Args:
        plan: Length, batch size and learning rates.
        images: Images of the training split.
        parameters: Trained parameters by name.
        loss: Mean loss over images of the training split, given by their indices.
        seed: Seed of the leg.
        number: Number of the stage, from 0.
    """

    def __init__(
        self, plan: Plan, images: int, parameters: Mapping[str, nn.Parameter], loss: Loss, seed: int, number: int
    ) -> None:
        self.plan, self.images, self.loss, self.seed, self.number = plan, images, loss, seed, number
        self.steps = plan.steps(images)
        recipe = Recipe(lr=plan.lr, weight_decay=plan.weight_decay)
        scaled = next(iter(parameters.values())).dtype == torch.float16
        self.stepper = Stepper(parameters, recipe, scaled, MicroBatches(plan.batch_images), betas=plan.betas)

    def step(self, step: int) -> torch.Tensor:
        """Take step `step` of this stage. Returns the loss without waiting for the device."""
        per_epoch = math.ceil(self.images / self.plan.batch_images)
        order = np.random.default_rng([self.seed, self.number, step // per_epoch]).permutation(self.images)
        chosen = order[step % per_epoch :: per_epoch].tolist()
        torch.manual_seed((self.seed * 1_000_003 + 1_009 * self.number + step) % 2**63)  # for dropout and sampled captions

        def backward(part: Sequence[int], scale: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
            loss = self.loss(part) * len(part) / len(chosen)
            scale(loss).backward()
            return loss.detach()

        return self.stepper.step(chosen, self.plan.rate(step, self.steps), backward)


class Training:
    """All stages of a baseline. A stage begins with the weights that the previous one left in the model.

    `makers` make the stages one at a time, so that only one optimiser takes memory.
    """

    def __init__(self, plans: Sequence[Plan], images: int, makers: Sequence[Callable[[], Stage]]) -> None:
        self.plans, self.images, self._makers = plans, images, makers
        self._lengths = [plan.steps(images) for plan in plans]
        self.total_steps = sum(self._lengths)
        self._stage: Stage | None = None

    def run(self, start: float, stop: float, between_steps: Callable[[], None]) -> TrainResult:
        """Train from share `start` to share `stop` of all steps. Raises CandidateError when the loss is not finite."""
        losses: list[torch.Tensor] = []
        images = 0
        for at in range(round(start * self.total_steps), round(stop * self.total_steps)):
            stage, step = self._at(at)
            losses.append(stage.step(step))
            images += min(stage.plan.batch_images, self.images)
            if at % 20 == 0 or at + 1 == round(stop * self.total_steps):
                _check(losses[-1], stage.plan.name, step)
            between_steps()
        if not losses:
            return TrainResult(0, math.nan, 0)
        return TrainResult(len(losses), torch.stack(losses[-max(1, len(losses) // 10) :]).mean().item(), images)

    def save(self, path: Path) -> None:
        """The current stage's weights and moments, as safetensors. Raises InfrastructureError on a full disk."""
        assert self._stage is not None
        try:
            save_file(self._stage.stepper.state(), path)
        except SafetensorError as error:
            raise InfrastructureError(f"{path} cannot be written: {error}") from error

    def load(self, path: Path, share: float) -> None:
        """Inverse of `save`; `share` of the budget was trained then. Raises ValueError for a damaged file or another model's."""
        stage, _ = self._at(round(share * self.total_steps) - 1)
        try:
            stage.stepper.load_state(load_file(path))
        except (ValueError, SafetensorError) as error:
            raise ValueError(f"{path}: {error}") from error

    def _at(self, step: int) -> tuple[Stage, int]:
        """The stage of step `step` of the whole training, and the number of that step within the stage."""
        number = 0
        while step >= self._lengths[number]:
            step -= self._lengths[number]
            number += 1
        if self._stage is None or self._stage.number != number:
            self._stage = None  # frees its memory before the next stage takes some
            self._stage = self._makers[number]()
        return self._stage, step


def _check(loss: torch.Tensor, stage: str, step: int) -> None:
    if not math.isfinite(value := loss.item()):
        raise CandidateError("nan", f"training loss is {value} at step {step} of stage {stage}")


@contextmanager
def dropout(module: nn.Module) -> Iterator[None]:
    """Puts the module into training mode within the block."""
    module.train()
    try:
        yield
    finally:
        module.eval()
