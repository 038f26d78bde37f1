"""Measure the latency of a finished candidate's architecture again, with its trained weights, and its throughput if asked for."""

from __future__ import annotations

from rsopt.latency.device import device_name
from rsopt.latency.ledger import Entry
from rsopt.latency.metrics import latency_metrics
from rsopt.latency.protocol import latency_context
from rsopt.latency.session import measure_latency
from rsopt.model.vision_features import pixels
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import architecture_throughput
from rsopt.trial.trained_model import load_trained


def remeasure_latency(context: TrialContext) -> dict[str, float]:
    """Returns metrics of a session on the ledger's scale, so that a device that got slower as a whole changes nothing.

    Empty on another device than the one whose latency counts. The session enters the ledger if that has none of the
    architecture, unless it was disturbed.
    """
    base, leg, protocol = context.worker.base, context.leg, context.protocol
    if context.latency_device not in (None, device_name(base.device)):
        return {}
    with context.device_lock.shared():
        plain = load_trained(base, leg, context.folder)
        image = pixels(base, context.worker.data.split("val")[:1])
    latency = measure_latency(plain, base, image, protocol, context.device_lock)
    architecture = leg.candidate.variant.architecture(base.dtype, base.shape)
    metrics = latency_metrics(context.ledger.record(Entry(latency_context(base, protocol), architecture, latency)))
    if context.throughput:
        metrics |= architecture_throughput(context, plain).metrics()
    return metrics
