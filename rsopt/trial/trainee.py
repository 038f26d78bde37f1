"""Trainee: what a leg needs of a captioner. Implemented by variants of the base and by baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rsopt.data.records import Sample
from rsopt.latency.protocol import Protocol as LatencyProtocol
from rsopt.latency.subject import Subject
from rsopt.training.trainer import TrainResult


class Trainee(Protocol):
    """A captioner that a leg trains and measures. Calling its class with a TrialContext builds it, untrained."""

    @property
    def is_trained(self) -> bool:
        """False for a base without an adapter, which is only measured."""

    recomputed: bool  # whether the training computed activations twice to save memory

    def load_data(self) -> None:
        """Prepare the training split. Called once, before `train` or `load`."""

    def train(self, checkpoint: Path | None) -> TrainResult:
        """Train from the leg's start, where `checkpoint` was saved, to its stop. Training is timed as "train"."""

    def save(self, folder: Path) -> None:
        """Write the trained state, and what else a rung keeps, into an empty folder."""

    def load(self, folder: Path) -> None:
        """Inverse of `save`, in place of `train`. Raises ValueError where the files are damaged."""

    def training_metrics(self, result: TrainResult) -> dict[str, float]:
        """Metrics of the training, besides its seconds."""

    def prepare_captioning(self) -> None:
        """Called once after training and before anything is measured."""

    def caption(self, every: int, beams: int, batch: int) -> list[str]:
        """Captions of every `every`-th image of the validation split."""

    def validation_loss(self) -> float:
        """Mean loss over the validation split in nats a token."""

    def subject(self, sample: Sample) -> Subject:
        """The captioner before one image, to be timed."""

    def latency(self, subject: Subject, protocol: LatencyProtocol) -> dict[str, float]:
        """Latency metrics, on the scale of the study's ledger."""

    def costs(self) -> dict[str, float]:
        """Parameters, compute and size; captions per second where they are an objective."""
