"""run_leg: the seam to the model. Build, continue from the last rung, train to the next, measure, write down, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.core.candidate import Leg
from rsopt.core.inference import GENERATE
from rsopt.core.leg_files import read_measurement, rung_folder, trained_before, trained_folder
from rsopt.core.objectives import Measurement
from rsopt.cost.peak_flops import measured_peak
from rsopt.errors import CandidateError, InfrastructureError
from rsopt.latency.device import device_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Latency, Ledger
from rsopt.latency.protocol import Protocol
from rsopt.latency.session import NATURAL_IMAGES, measure_latency, natural_latency
from rsopt.model.build import Built, build, merged
from rsopt.model.vision_features import pixels
from rsopt.training.model_flops import training_flops
from rsopt.training.trainer import Trainer, TrainResult
from rsopt.trial.latency_metrics import architecture_latency, architecture_throughput
from rsopt.trial.leg_writer import finish_rung, write_rung
from rsopt.trial.quality import measure_quality
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.training_segment import train_segment
from rsopt.trial.worker_context import WorkerContext


def run_leg(
    leg: Leg,
    worker: WorkerContext,
    folder: Path,
    ledger: Ledger,
    device_lock: DeviceLock,
    assigned: float | None = None,
    decoder: str = GENERATE,
    latency_device: str | None = None,
    throughput: bool = False,
    teacher: Leg | None = None,
    validations: int = 0,
    study: Path | None = None,
) -> Measurement:
    """Train `leg` and measure it at its rung. Raises CandidateError for faults of the candidate.

    The measurement stands beside the checkpoint, put there by one rename: a leg is either wholly there or not at all, and
    one that is there is not trained again; nor is one that was trained and not measured (rsopt.trial.training_segment).
    `assigned` is when the worker got the leg (time.perf_counter), by default now.
    `decoder` is the one whose latency counts, `latency_device` the device model where it counts (default: this one).
    `throughput`: captions a second is measured too, for it is an objective. `teacher` is the whole training of the study's
    teacher, for recipes that distil. `validations`: how often the validation loss is taken on the way of a whole training, for
    its curve. `study`: where the teacher's checkpoint is looked for, the study's folder, if `folder` is a part of it.
    """
    if (found := read_measurement(folder, leg.number, leg.stop)) is not None:
        return found
    clock = Stopwatch(worker.base.device, time.perf_counter() if assigned is None else assigned)
    variant = leg.candidate.variant
    yield_device = partial(device_lock.yield_to_measurement, clock.settle)
    result: TrainResult | None = None
    metrics: dict[str, float] = {}
    with device_lock.shared(), between_chunks(worker, yield_device):
        with clock.timed("build"):
            built = build(worker.base, variant, leg.seed)
        if variant.lora is not None:
            trainer, result = train_segment(
                leg, built, worker, folder, clock, yield_device, teacher, validations, study or folder
            )
            metrics = _training_metrics(result, trainer, worker, clock.seconds["train"])
        plain = merged(built)
        quality, captions = measure_quality(leg, built, plain, worker, clock, yield_device)
    metrics = quality | metrics
    metrics |= _measure_cost(leg, built, plain, worker, ledger, device_lock, clock, decoder, latency_device)
    if throughput:
        with clock.timed("throughput"):
            tile = pixels(worker.base, worker.data.split("val")[:1])
            metrics |= architecture_throughput(plain, variant, tile, worker, folder, device_lock, decoder).metrics()
    if result is not None:
        clock.seconds["trained"] = clock.seconds["train"] + trained_before(folder, leg.number, leg.start)
        metrics["train_s"] = clock.seconds["trained"]
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        raise CandidateError("nan", f"{', '.join(bad)} not finite")
    measurement = Measurement(leg.stop, metrics, {k: round(v, 4) for k, v in clock.seconds.items()})
    target = rung_folder(folder, leg.number, leg.stop)
    if result is None:
        write_rung(target, measurement, captions)
    else:
        finish_rung(trained_folder(folder, leg.number, leg.stop), target, measurement, captions)
    return measurement


def _training_metrics(result: TrainResult, trainer: Trainer, worker: WorkerContext, train_s: float) -> dict[str, float]:
    """Loss and throughput; on a GPU also `mfu`, the share of its measured peak, in percent."""
    metrics = {
        "train_loss": result.loss,
        "images_per_s": result.images / train_s,
        "tokens_per_s": result.tokens / train_s,
        "micro_images": float(result.micro_images),
    }
    if trainer.recompute:
        metrics["recomputed"] = 1.0  # said where it was so: it costs time
    if (device := worker.base.device).type == "cuda":
        data = trainer.data
        gmacs = 0.0 if data.queried else worker.costs.cost(trainer.built.variant).gmacs["qformer"]
        epoch = training_flops(trainer.built, data.captions, 1e9 * gmacs)
        peak = measured_peak(device, trainer.built.model.language_model.dtype)
        metrics["mfu"] = 100 * epoch * result.images / len(data.captions) / train_s / peak
    return metrics


def _measure_cost(
    leg: Leg,
    built: Built,
    plain: Blip2ForConditionalGeneration,
    worker: WorkerContext,
    ledger: Ledger,
    device_lock: DeviceLock,
    clock: Stopwatch,
    decoder: str,
    latency_device: str | None,
) -> dict[str, float]:
    """Latency (from the ledger, measured if new), parameters, compute and size of the merged model.

    At every rung: weights do not change them, and whether a candidate is promoted depends on them. Natural length is the
    candidate's own and taken at the last one.
    """
    base, variant = worker.base, built.variant
    images = [pixels(base, [sample]) for sample in worker.data.split("val")[: NATURAL_IMAGES if leg.last else 1]]

    def measure(protocol: Protocol) -> Latency:
        return measure_latency(plain, base, images[0], protocol, device_lock)

    with clock.timed("latency"):
        architecture = variant.architecture(base.dtype, base.shape)
        metrics = architecture_latency(architecture, worker, ledger, decoder, latency_device, measure)
        if metrics is None and leg.last:
            raise InfrastructureError(
                f"no latency of {architecture} on '{latency_device}' is known, and this is another device"
            )
        metrics = metrics or {}
        if leg.last and latency_device in (None, device_name(base.device)):
            protocol = Protocol.for_device(base.device, worker.reference_tokens, decoder)
            metrics["latency_natural_ms"], metrics["latency_natural_tokens"] = natural_latency(
                plain, base, images, protocol, device_lock
            )
    cost = worker.costs.cost(variant)
    return metrics | {
        "params": float(sum(p.numel() for p in plain.parameters())),
        "trainable": float(sum(p.numel() for p in built.trainable().values())),
        "gmacs": cost.gmacs["total"],
        "size_mb": sum(p.numel() * p.element_size() for p in plain.parameters()) / 1e6,
    }


@contextmanager
def between_chunks(worker: WorkerContext, yield_device: Callable[[], None]) -> Iterator[None]:
    """Give way while features are built too, which may take minutes."""
    before = worker.progress

    def progress(done: int, of: int) -> None:
        yield_device()
        if before:
            before(done, of)

    worker.progress = progress
    try:
        yield
    finally:
        worker.progress = before
