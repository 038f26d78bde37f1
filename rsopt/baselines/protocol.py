"""Captioner: what a baseline offers, as a built variant does. It trains, captions, is costed and timed, and can be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch

from rsopt.baselines.training import Training
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost
from rsopt.data.records import Sample
from rsopt.latency.subject import Subject


class Captioner(Protocol):
    """A baseline over a base's data, on its device and in its dtype."""

    def training(self) -> Training:
        """Its stages, from the beginning."""

    def caption(
        self, split: str, every: int, beams: int, batch: int, between_batches: Callable[[], None] | None = None
    ) -> list[str]:
        """Captions of every `every`-th image of a split, by the protocol."""

    def validation_loss(self) -> float:
        """Weighted mean loss a token over the validation split, in nats; over its own vocabulary."""

    def pixels(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Images as its tower takes them, (images, 3, height, width)."""

    def subject(self, pixel_values: torch.Tensor, beams: int) -> Subject:
        """Itself before one image (1, 3, height, width), to be timed."""

    def cost(self, load: Workload) -> Cost:
        """Exact costs, from its configuration."""

    def write(self, folder: Path) -> None:
        """Keep it in a folder (see `rsopt.baselines.load.reload`)."""
