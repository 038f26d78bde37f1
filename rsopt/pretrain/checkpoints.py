"""The loop of a pretraining stage, which stores checkpoints and continues from them after it was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rsopt.common.atomic_files import replacing, write_json
from rsopt.errors import UserError
from rsopt.pretrain.common import Progress, schedule_of, take_step

SECONDS = 30.0  # between two checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A folder of checkpoints, one file for each stage. `made_for` is what must be the same to continue from them."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, made_for: dict[str, Any]) -> Checkpoints:
        """Opens or creates the folder. Raises UserError if its checkpoints belong to other data, seed or scale."""
        file = folder / "made_for.json"
        if file.is_file() and (earlier := json.loads(file.read_text(encoding="utf-8"))) != made_for:
            different = sorted(k for k in made_for | earlier if made_for.get(k) != earlier.get(k))
            raise UserError(
                f"{folder}: its checkpoints belong to a pretraining with other {', '.join(different)}; "
                "give the same again, delete the folder, or name another --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, made_for)
        return cls(folder)

    def load(self, stage: str) -> dict[str, Any] | None:
        """Returns the stage's last checkpoint, or None."""
        file = self.folder / f"{stage}.pt"
        return torch.load(file, weights_only=True) if file.is_file() else None

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Replaces the stage's checkpoint in one step."""
        with replacing(self.folder / f"{stage}.pt") as aside:
            torch.save(state, aside)


def run_stage(
    name: str,
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    loss: Callable[[int], Tensor],
    checkpoints: Checkpoints,
    progress: Progress,
    note: Callable[[], str] = str,
) -> None:
    """Trains `trained` in place for `steps` steps, the ones before the last checkpoint not again.

    Args:
        name: The stage's name.
        trained: Everything that a checkpoint must hold.
        optimizer: Over its parameters.
        steps: Number of steps.
        loss: Returns the loss of a step. All its randomness must follow from the step's number.
        checkpoints: Where checkpoints are stored.
        progress: Called with lines of progress.
        note: Called for a few words more in a line of progress.
    """
    schedule = schedule_of(optimizer, steps)
    done = 0
    if state := checkpoints.load(name):
        trained.load_state_dict(state["trained"])
        done = state["step"]
        if done < steps:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
        progress(f"{name}: continues at step {done} of {steps}" if done < steps else f"{name}: done before")

    def store(step: int) -> None:
        state = {"step": step, "trained": trained.state_dict()}
        if step < steps:
            state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        checkpoints.save(name, state)

    stored = time.monotonic()
    for step in range(done, steps):
        try:
            value = loss(step)
        except KeyboardInterrupt:  # the weights are still those of the step before
            store(step)
            raise
        take_step(value, optimizer, schedule)
        last = step + 1 == steps
        if last or time.monotonic() - stored > SECONDS:
            store(step + 1)
            stored = time.monotonic()
        if (step + 1) % 100 == 0 or last:
            progress(f"{name} {step + 1}/{steps} loss {value.item():.3f} {note()}".rstrip())
