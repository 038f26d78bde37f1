"""run_baseline: a baseline's leg, as `rsopt.trial.run_leg` is a variant's. Same data, scores, timing, files and faults."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path

from rsopt.baselines.factory import make
from rsopt.baselines.protocol import Captioner
from rsopt.caption.degenerate import check_garbage
from rsopt.common.out_of_memory import fitting
from rsopt.core.candidate import Leg
from rsopt.core.inference import BATCH, BEAMS, GENERATE
from rsopt.core.leg_files import STATE, read_measurement, rung_folder, trained_before
from rsopt.core.objectives import Measurement
from rsopt.cost.memory import Workload
from rsopt.errors import CandidateError, InfrastructureError
from rsopt.latency.device import device_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.latency.protocol import Protocol, first_layers, latency_context, reference_architecture
from rsopt.latency.session import NATURAL_IMAGES, measure_subject, natural_of
from rsopt.latency.subject import Subject
from rsopt.model.build import build
from rsopt.model.vision_features import pixels
from rsopt.trial.latency_metrics import latency_metrics
from rsopt.trial.leg_writer import write_rung
from rsopt.trial.quality import RUNG_IMAGES, score_captions
from rsopt.trial.run_leg import between_chunks
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.worker_context import WorkerContext

MODEL = "model"  # the captioner's folder beside a last rung's measurement


def run_baseline(
    leg: Leg,
    worker: WorkerContext,
    folder: Path,
    ledger: Ledger,
    device_lock: DeviceLock,
    assigned: float | None = None,
    decoder: str = GENERATE,
    latency_device: str | None = None,
) -> Measurement:
    """Train the leg's baseline and measure it at its rung; parameters and errors as of `run_leg`."""
    if (found := read_measurement(folder, leg.number, leg.stop)) is not None:
        return found
    assert leg.candidate.baseline is not None
    base = worker.base
    clock = Stopwatch(base.device, time.perf_counter() if assigned is None else assigned)
    yield_device = partial(device_lock.yield_to_measurement, clock.settle)
    with device_lock.shared(), between_chunks(worker, yield_device):
        with clock.timed("build"):
            captioner = make(leg.candidate.baseline, worker, leg.seed)
        with clock.timed("features"):
            training = captioner.training()
        if leg.start > 0:
            training.load(rung_folder(folder, leg.number, leg.start) / STATE, leg.start)
        with clock.timed("train"):
            result = training.run(leg.start, leg.stop, yield_device)
        samples = worker.data.split("val")
        every = 1 if leg.last else math.ceil(len(samples) / RUNG_IMAGES)
        chosen = samples[::every]
        with clock.timed("caption"):
            captions = fitting(
                BATCH[base.device.type],
                lambda batch: captioner.caption("val", every, BEAMS if leg.last else 1, batch, yield_device),
            )
        with clock.timed("score"):
            metrics, record = score_captions(worker, chosen, captions, leg.last)
        check_garbage(captions, [text for sample in chosen for text in sample.references])
        if leg.last:
            with clock.timed("val_loss"):
                metrics["val_loss"] = captioner.validation_loss()
    metrics |= {"train_loss": result.loss, "images_per_s": result.images / clock.seconds["train"]}
    with clock.timed("latency"):
        metrics |= baseline_latency(leg.last, captioner, worker, ledger, device_lock, decoder, latency_device)
    cost = captioner.cost(Workload(dtype=base.dtype))
    metrics |= {
        "params": float(cost.params["total"]),
        "trainable": float(cost.trainable),
        "gmacs": cost.gmacs["total"],
        "size_mb": cost.size_mb[base.dtype],
    }
    clock.seconds["trained"] = clock.seconds["train"] + trained_before(folder, leg.number, leg.start)
    metrics["train_s"] = clock.seconds["trained"]
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise CandidateError("nan", f"{', '.join(bad)} not finite")
    measurement = Measurement(leg.stop, metrics, {k: round(v, 4) for k, v in clock.seconds.items()})

    def save(aside: Path) -> None:
        training.save(aside / STATE)
        if leg.last:
            (aside / MODEL).mkdir()
            captioner.write(aside / MODEL)

    write_rung(rung_folder(folder, leg.number, leg.stop), measurement, record, save)
    return measurement


def baseline_latency(
    natural: bool,
    captioner: Captioner,
    worker: WorkerContext,
    ledger: Ledger,
    device_lock: DeviceLock,
    decoder: str,
    latency_device: str | None,
) -> dict[str, float]:
    """A baseline's latency, timed in turn with the base's reference model and on the ledger's scale, so that points compare.

    It is not kept in the ledger, whose entries are variants of the base. A decoder that a baseline lacks is replaced by
    transformers' `generate`. Raises InfrastructureError where latencies count on another device: none can be predicted.
    """
    base = worker.base
    if latency_device not in (None, device_name(base.device)):
        raise InfrastructureError(
            f"a baseline's latency on '{latency_device}' is not known, and this is another device"
        )
    samples = worker.data.split("val")[: NATURAL_IMAGES if natural else 1]
    subjects = [captioner.subject(captioner.pixels([sample]), BEAMS) for sample in samples]
    known = decoder if decoder in subjects[0].decoders else GENERATE
    protocol = Protocol.for_device(base.device, worker.reference_tokens, known)
    reference_ms = _scale(worker, ledger, device_lock, protocol)
    found = measure_subject(subjects[0], base, pixels(base, samples[:1]), protocol, device_lock).relative_to(
        reference_ms
    )
    metrics = latency_metrics(found) | {"latency_measured": 1.0}
    if natural:
        metrics["latency_natural_ms"], metrics["latency_natural_tokens"] = natural_of(
            subjects, base.device, protocol, device_lock
        )
    return metrics


def _scale(worker: WorkerContext, ledger: Ledger, device_lock: DeviceLock, protocol: Protocol) -> float:
    """The reference model's time as the ledger has it; timed against itself where nothing is recorded yet."""
    base = worker.base
    context = latency_context(base, protocol)
    if (known := ledger.reference_ms(context)) is not None:
        return known
    half = first_layers(*reference_architecture(base.shape))
    pixel_values = pixels(base, worker.data.split("val")[:1])
    subject = Subject.of(build(base, half).model, base, pixel_values, protocol.beams)
    ledger.get_or_measure(
        context,
        half.architecture(base.dtype, base.shape),
        lambda: measure_subject(subject, base, pixel_values, protocol, device_lock),
    )
    known = ledger.reference_ms(context)
    assert known is not None
    return known
