"""Measure the latency and throughput of a finished candidate again, with its trained weights, to confirm the recorded one."""

from __future__ import annotations

from rsopt.latency.ledger import tied
from rsopt.latency.protocol import latency_context
from rsopt.latency.remeasured import RemeasuredLatency
from rsopt.latency.session import measure_latency
from rsopt.model.vision_features import pixels
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import architecture_throughput
from rsopt.trial.trained_model import load_trained


def remeasure_latency(context: TrialContext) -> RemeasuredLatency | None:
    """The latency after the candidate's last leg, beside the ledger's; None where the ledger has none of this device.

    `differs`: beyond both intervals. Both are on the ledger's scale, so a device that got slower as a whole does not count.
    """
    base, leg, protocol = context.worker.base, context.leg, context.protocol
    key = latency_context(base, protocol)
    recorded = context.ledger.get(key, leg.candidate.variant.architecture(base.dtype, base.shape))
    reference_ms = context.ledger.reference_ms(key)
    if recorded is None or reference_ms is None:
        return None
    plain = load_trained(base, leg, context.folder)
    image = pixels(base, context.worker.data.split("val")[:1])
    again = measure_latency(plain, base, image, protocol, context.device_lock).relative_to(reference_ms)
    return RemeasuredLatency(
        latency_ms=again.latency_ms,
        latency_low_ms=again.interval_ms[0],
        latency_high_ms=again.interval_ms[1],
        latency_raw_ms=again.raw_ms,
        recorded_ms=recorded.latency_ms,
        change=again.latency_ms / recorded.latency_ms - 1,
        differs=not tied(again, recorded),
        disturbed=again.disturbed,
        **architecture_throughput(context, plain).metrics(),
    )
