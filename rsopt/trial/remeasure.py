"""A finished candidate's latency once more, with its trained weights: what was recorded must hold. Its throughput too."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from rsopt.core.candidate import Leg
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger, tied
from rsopt.latency.protocol import Protocol, latency_context
from rsopt.latency.remeasured import RemeasuredLatency
from rsopt.latency.session import measure_latency
from rsopt.model.build import build, merged
from rsopt.model.vision_features import pixels
from rsopt.training.optimizer import Stepper
from rsopt.trial.latency_metrics import architecture_throughput
from rsopt.trial.worker_context import WorkerContext


def measure_again(
    leg: Leg, worker: WorkerContext, folder: Path, ledger: Ledger, device_lock: DeviceLock, decoder: str
) -> RemeasuredLatency | None:
    """The latency of a candidate's last leg, beside the ledger's; None where the ledger has none of this device.

    `differs`: beyond both intervals. Both are on the ledger's scale, so a device that got slower as a whole does not count.
    """
    base, variant = worker.base, leg.candidate.variant
    protocol = Protocol.for_device(base.device, worker.reference_tokens, decoder)
    context = latency_context(base, protocol)
    recorded = ledger.get(context, variant.architecture(base.dtype, base.shape))
    reference_ms = ledger.reference_ms(context)
    if recorded is None or reference_ms is None:
        return None
    built = build(base, variant, leg.seed)
    if variant.lora is not None:
        stepper = Stepper(built.trainable(), leg.candidate.recipe, False, 1)
        stepper.load_state(load_file(rung_folder(folder, leg.number, leg.stop) / STATE))
    image = pixels(base, worker.data.split("val")[:1])
    plain = merged(built)
    again = measure_latency(plain, base, image, protocol, device_lock).relative_to(reference_ms)
    throughput = architecture_throughput(plain, variant, image, worker, folder, device_lock, decoder)
    return RemeasuredLatency(
        latency_ms=again.latency_ms,
        latency_low_ms=again.interval_ms[0],
        latency_high_ms=again.interval_ms[1],
        latency_raw_ms=again.raw_ms,
        recorded_ms=recorded.latency_ms,
        change=again.latency_ms / recorded.latency_ms - 1,
        differs=not tied(again, recorded),
        disturbed=again.disturbed,
        **throughput.metrics(),
    )
