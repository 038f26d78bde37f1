"""BaselineTrainee: a baseline as a leg's trainee."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from rsopt.baselines.factory import make
from rsopt.core.inference import BEAMS
from rsopt.core.leg_files import STATE
from rsopt.cost.memory import Workload
from rsopt.data.records import Sample
from rsopt.errors import InfrastructureError
from rsopt.latency.device import device_name
from rsopt.latency.protocol import Protocol, first_layers, latency_context, reference_architecture
from rsopt.latency.session import measure_subject
from rsopt.latency.subject import Subject
from rsopt.model.build import build
from rsopt.model.vision_features import pixels
from rsopt.training.trainer import TrainResult
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import latency_metrics

MODEL = "model"  # folder of the captioner in its last rung


class BaselineTrainee:
    """See `Trainee` for the methods. Wraps a `Captioner` of the kind that the leg's candidate names."""

    is_trained = True
    recomputed = False

    def __init__(self, context: TrialContext) -> None:
        self._context, self._worker, self._leg = context, context.worker, context.leg
        assert self._leg.candidate.baseline is not None
        self._captioner = make(self._leg.candidate.baseline, self._worker, self._leg.seed)

    def load_data(self) -> None:
        self._training = self._captioner.training()

    def train(self, checkpoint: Path | None) -> TrainResult:
        if checkpoint is not None:
            self._training.load(checkpoint, self._leg.start)
        with self._context.stopwatch.timed("train"):
            return self._training.run(self._leg.start, self._leg.stop, self._context.yield_device)

    def save(self, folder: Path) -> None:
        """State of the current stage; after the last leg also the captioner itself."""
        self._training.save(folder / STATE)
        if self._leg.last:
            (folder / MODEL).mkdir()
            self._captioner.write(folder / MODEL)

    def load(self, folder: Path) -> None:
        self._training.load(folder / STATE, self._leg.stop)

    def training_metrics(self, result: TrainResult) -> dict[str, float]:
        return {"train_loss": result.loss, "images_per_s": result.images / self._context.stopwatch.seconds["train"]}

    def prepare_captioning(self) -> None:
        """Nothing to do."""

    def caption(self, every: int, beams: int, batch: int) -> list[str]:
        return self._captioner.caption("val", every, beams, batch, self._context.yield_device)

    def validation_loss(self) -> float:
        return self._captioner.validation_loss()

    def subject(self, sample: Sample) -> Subject:
        return self._captioner.subject(self._captioner.pixels([sample]), BEAMS)

    def latency(self, subject: Subject, protocol: Protocol) -> dict[str, float]:
        """Timed in turn with the base's reference model and on the ledger's scale, so that baselines and variants compare.

        It is not recorded in the ledger, whose entries are variants of the base. Raises InfrastructureError where latency
        counts on another device, because a baseline's cannot be predicted.
        """
        base, context = self._worker.base, self._context
        if context.latency_device not in (None, device_name(base.device)):
            raise InfrastructureError(
                f"a baseline's latency on '{context.latency_device}' is not known, and this is another device"
            )
        pixel_values = pixels(base, self._worker.data.split("val")[:1])
        key = self._known_scale(pixel_values, protocol)
        latency = measure_subject(subject, base, pixel_values, protocol, context.device_lock)
        return latency_metrics(context.ledger.on_scale(key, base.dtype, latency)) | {"latency_measured": 1.0}

    def costs(self) -> dict[str, float]:
        """Parameters, compute and size, from the baseline's configuration."""
        dtype = self._worker.base.dtype
        cost = self._captioner.cost(Workload(dtype=dtype))
        return {
            "params": float(cost.params["total"]),
            "trainable": float(cost.trainable),
            "gmacs": cost.gmacs["total"],
            "size_mb": cost.size_mb[dtype],
        }

    def _known_scale(self, pixel_values: Tensor, protocol: Protocol) -> dict[str, Any]:
        """The context of the ledger's scale; the reference model is timed against itself where nothing is recorded yet."""
        base, ledger, lock = self._worker.base, self._context.ledger, self._context.device_lock
        key = latency_context(base, protocol)
        if ledger.scale(key, base.dtype) is None:
            half = first_layers(*reference_architecture(base.shape))
            subject = Subject.of(build(base, half).model, base, pixel_values, protocol.beams)
            architecture = half.architecture(base.dtype, base.shape)
            ledger.get_or_measure(key, architecture, lambda: measure_subject(subject, base, pixel_values, protocol, lock))
        return key
