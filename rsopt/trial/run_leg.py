"""run_leg: build, train from the last rung to the next, measure, write. The same for variants and baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rsopt.core.inference import GENERATE
from rsopt.core.leg_files import read_measurement, rung_folder, trained_before, trained_folder
from rsopt.core.objectives import Measurement
from rsopt.errors import CandidateError
from rsopt.latency.device import device_name
from rsopt.latency.session import NATURAL_IMAGES, natural_latency_of
from rsopt.trial.context import TrialContext
from rsopt.trial.leg_writer import finish_rung, write_rung
from rsopt.trial.quality import measure_quality
from rsopt.trial.trainee import Trainee
from rsopt.trial.training_segment import train_segment


def run_leg(context: TrialContext, build: Callable[[TrialContext], Trainee]) -> Measurement:
    """Train the captioner that `build` makes and measure it at its rung. Raises CandidateError for faults of the candidate.

    A finished leg is read from its folder. A leg that a killed process trained and did not measure is only measured.
    """
    leg, stopwatch = context.leg, context.stopwatch
    if (finished := read_measurement(context.folder, leg.number, leg.stop)) is not None:
        return finished
    training: dict[str, float] = {}
    with context.device_lock.shared(), _yielding_while_loading(context):
        with stopwatch.timed("build"):
            trainee = build(context)
        if trainee.is_trained:
            training = trainee.training_metrics(train_segment(context, trainee))
        trainee.prepare_captioning()
        metrics, captions = measure_quality(context, trainee)
    metrics |= training
    with stopwatch.timed("latency"):
        metrics |= _measure_latency(context, trainee)
    metrics |= trainee.costs()
    if trainee.is_trained:
        before = trained_before(context.folder, leg.number, leg.start)
        metrics["train_s"] = stopwatch.seconds["trained"] = stopwatch.seconds["train"] + before
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise CandidateError("nan", f"{', '.join(bad)} not finite")
    measurement = Measurement(leg.stop, metrics, {k: round(v, 4) for k, v in stopwatch.seconds.items()})
    target = rung_folder(context.folder, leg.number, leg.stop)
    if trainee.is_trained:
        finish_rung(trained_folder(context.folder, leg.number, leg.stop), target, measurement, captions)
    else:
        write_rung(target, measurement, captions)
    return measurement


def _measure_latency(context: TrialContext, trainee: Trainee) -> dict[str, float]:
    """Latency at every rung, because promotion depends on it; at the last one also of captions of natural length."""
    device, last = context.worker.base.device, context.leg.last
    samples = context.worker.data.split("val")[: NATURAL_IMAGES if last else 1]
    subjects = [trainee.subject(sample) for sample in samples]
    protocol = context.protocol
    if protocol.decoder not in subjects[0].decoders:
        protocol = replace(protocol, decoder=GENERATE)
    metrics = trainee.latency(subjects[0], protocol)
    if last and context.latency_device in (None, device_name(device)):
        metrics["latency_natural_ms"], metrics["latency_natural_tokens"] = natural_latency_of(
            subjects, device, protocol, context.device_lock
        )
    return metrics


@contextmanager
def _yielding_while_loading(context: TrialContext) -> Iterator[None]:
    """Give way to measurements also between chunks of features, which may take minutes to compute."""
    worker, before = context.worker, context.worker.progress

    def progress(done: int, of: int) -> None:
        context.yield_device()
        if before:
            before(done, of)

    worker.progress = progress
    try:
        yield
    finally:
        worker.progress = before
