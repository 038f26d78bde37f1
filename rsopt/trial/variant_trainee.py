"""VariantTrainee: a variant of the base as a leg's trainee."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.decoders import caption_features
from rsopt.common.out_of_memory import exceeded, halve_until_fits
from rsopt.core.inference import BEAMS, Generation
from rsopt.core.leg_files import CURVE, STATE
from rsopt.cost.peak_flops import measured_peak
from rsopt.data.records import Sample
from rsopt.errors import InfrastructureError
from rsopt.latency.protocol import Protocol
from rsopt.latency.session import measure_subject
from rsopt.latency.subject import Subject
from rsopt.model.build import build, merged
from rsopt.model.vision_features import pixels
from rsopt.training.losses import Losses, validation_loss
from rsopt.training.model_flops import training_flops
from rsopt.training.trainer import Trainer, TrainResult
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import architecture_latency, architecture_throughput
from rsopt.trial.teacher import distillation_losses
from rsopt.trial.trainer_setup import leg_curve, noting_shortage, recipe_data, trainer_for
from rsopt.trial.worker_context import pad_id


class VariantTrainee:
    """See `Trainee` for the methods. A variant without an adapter is the base as it comes, which is not trained."""

    recomputed = False
    _plain: Blip2ForConditionalGeneration  # with the adapter merged
    _trainer: Trainer

    def __init__(self, context: TrialContext) -> None:
        self._context, self._worker, self._leg = context, context.worker, context.leg
        self._built = build(self._worker.base, self._leg.candidate.variant, self._leg.seed)

    @property
    def is_trained(self) -> bool:
        """Whether there is an adapter to train."""
        return self._built.variant.lora is not None

    def load_data(self) -> None:
        self._data = recipe_data(self._leg, self._built, self._worker)

    def train(self, checkpoint: Path | None) -> TrainResult:
        """Train, with the answers of the study's teacher if the recipe distils, and follow the losses."""
        stopwatch, losses = self._context.stopwatch, None
        if self._leg.candidate.recipe.distills:
            with stopwatch.timed("teacher"):
                losses = distillation_losses(self._context, self._built, self._data)
        trainer = self._make_trainer(losses)
        if checkpoint is not None:
            trainer.load(checkpoint)
        curve = leg_curve(self._context, trainer)

        def between_steps() -> None:
            stopwatch.mark("first_step")
            self._context.yield_device()
            curve.step()

        with stopwatch.timed("train"), noting_shortage(self._context, trainer):
            result = trainer.run(self._leg.start, self._leg.stop, between_steps)
        self.recomputed = trainer.recomputed
        stopwatch.seconds["train"] -= curve.seconds  # validation is no part of the training
        self._curve = curve.to_json(result.losses)
        return result

    def save(self, folder: Path) -> None:
        """Adapter weights and optimiser state; losses by step."""
        self._trainer.save(folder / STATE)
        (folder / CURVE).write_text(json.dumps(self._curve))

    def load(self, folder: Path) -> None:
        trainer = self._make_trainer()
        trainer.load(folder / STATE)
        trainer.drop(False)

    def training_metrics(self, result: TrainResult) -> dict[str, float]:
        """Loss and throughput; on a GPU also `mfu`, the share of its measured peak, in percent."""
        data, device, seconds = self._data, self._worker.base.device, self._context.stopwatch.seconds["train"]
        metrics = {
            "train_loss": result.loss,
            "images_per_s": result.images / seconds,
            "tokens_per_s": result.tokens / seconds,
            "micro_images": float(result.micro_images),
        }
        if self.recomputed:
            metrics["recomputed"] = 1.0  # it costs time
        if device.type == "cuda":
            gmacs = 0.0 if data.queried else self._worker.costs.cost(self._built.variant).gmacs["qformer"]
            epoch = training_flops(self._built, data.captions, 1e9 * gmacs)
            peak = measured_peak(device, self._built.model.language_model.dtype)
            metrics["mfu"] = 100 * epoch * result.images / len(data.captions) / seconds / peak
        return metrics

    def prepare_captioning(self) -> None:
        """Merge the adapter; once a process, check the fast decoder."""
        self._plain = merged(self._built)
        with self._context.stopwatch.timed("check"):
            _ = self._worker.decode

    def caption(self, every: int, beams: int, batch: int) -> list[str]:
        inputs, queried = self._worker.inputs("val", self._built)
        return caption_features(
            self._plain,
            self._worker.base,
            inputs[::every],
            generation=Generation(beams),
            batch=batch,
            between_batches=self._context.yield_device,
            decode=self._worker.decode,  # anew in each attempt: one that ran out of memory may still hold some
            queried=queried,
        )

    def validation_loss(self) -> float:
        data = self._worker.training_set("val", self._built.variant.vision_layers, self._built)
        pad = pad_id(self._worker.base)
        return halve_until_fits(32, lambda images: validation_loss(self._plain, data, pad, images))

    def subject(self, sample: Sample) -> Subject:
        return Subject.of(self._plain, self._worker.base, pixels(self._worker.base, [sample]), BEAMS)

    def latency(self, subject: Subject, protocol: Protocol) -> dict[str, float]:
        """From the ledger, measured if new. Empty where it is unknown on another device.

        Raises InfrastructureError where it is unknown at the last rung.
        """
        base, context = self._worker.base, self._context
        architecture = self._built.variant.architecture(base.dtype, base.shape)
        metrics = architecture_latency(
            context, architecture, lambda: measure_subject(subject, base, subject.pixel_values, protocol, context.device_lock)
        )
        if metrics is None and self._leg.last:
            raise InfrastructureError(
                f"no latency of {architecture} on '{context.latency_device}' is known, and this is another device"
            )
        return metrics or {}

    def costs(self) -> dict[str, float]:
        """Parameters, compute and size of the merged model; captions per second where they are an objective."""
        parameters = list(self._plain.parameters())
        metrics = {
            "params": float(sum(p.numel() for p in parameters)),
            "trainable": float(sum(p.numel() for p in self._built.trainable().values())),
            "gmacs": self._worker.costs.cost(self._built.variant).gmacs["total"],
            "size_mb": sum(p.numel() * p.element_size() for p in parameters) / 1e6,
        }
        if self._context.throughput:
            with self._context.stopwatch.timed("throughput"):
                metrics |= architecture_throughput(self._context, self._plain).metrics()
        return metrics

    def _make_trainer(self, losses: Losses | None = None) -> Trainer:
        exceeded_by = exceeded(self._context.folder)
        self._trainer = trainer_for(self._leg, self._built, self._data, self._worker, exceeded_by, losses)
        return self._trainer
