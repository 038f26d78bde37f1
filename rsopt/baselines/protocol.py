"""Captioner: the interface of a baseline."""

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
        """Its training, from the beginning."""

    def caption(
        self, split: str, every: int, beams: int, batch: int, between_batches: Callable[[], None] | None = None
    ) -> list[str]:
        """Captions of every `every`-th image of a split.

        Args:
            split: "train", "val" or "test".
            every: Distance of the captioned images in the split.
            beams: Beams of the search; 1 is greedy search.
            batch: Images captioned at once.
            between_batches: Called after each batch.
        """

    def validation_loss(self) -> float:
        """Weighted mean loss over the validation split in nats a token of its own vocabulary."""

    def pixels(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Images as its vision tower takes them, (images, 3, height, width)."""

    def subject(self, pixel_values: torch.Tensor, beams: int) -> Subject:
        """What is timed: captioning one image (1, 3, height, width)."""

    def cost(self, load: Workload) -> Cost:
        """Exact costs from its configuration."""

    def write(self, folder: Path) -> None:
        """Writes it to a folder, for `rsopt.baselines.load.load_baseline`."""
