"""An architecture's latency as a trial reports it: recorded, measured now, or, for another device, predicted and said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.core.variant import Architecture, Variant
from rsopt.latency.device import device_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Latency, Ledger
from rsopt.latency.other_device import latency_elsewhere, latency_metrics
from rsopt.latency.protocol import Protocol, latency_context, model_context
from rsopt.latency.throughput import Throughput, known_throughput, measure_throughput
from rsopt.trial.worker_context import WorkerContext


def architecture_latency(
    architecture: Architecture,
    worker: WorkerContext,
    ledger: Ledger,
    decoder: str,
    device: str | None,
    measure: Callable[[Protocol], Latency],
) -> dict[str, float] | None:
    """Metrics with the latency of an architecture on the device that counts; None where nothing is known of it.

    `device` is the stated model of that device, None for the worker's own. A worker on another one never measures: it
    reads what the ledger holds of the stated device, or predicts from that (`latency_predicted` 1, `latency_error_ms`).
    """
    base = worker.base
    if device is None or device == device_name(base.device):
        protocol = Protocol.for_device(base.device, worker.reference_tokens, decoder)
        context = latency_context(base, protocol)
        latency, new = ledger.get_or_measure(context, architecture, lambda: measure(protocol))
        return latency_metrics(latency) | {"latency_measured": float(new)}
    stated = stated_context(ledger, device, model_context(base), decoder)
    if stated is None:
        return None
    return latency_elsewhere(ledger.entries(stated), architecture, base.shape.cross_attention_frequency)


def stated_context(ledger: Ledger, device: str, model: Mapping[str, Any], decoder: str) -> dict[str, Any] | None:
    """The first context in the ledger of this device, this base and this decoder; its length and versions are what counts."""
    for context in ledger.contexts():
        same = context["device"] == device and context["protocol"]["decoder"] == decoder
        if same and all(context[name] == value for name, value in model.items()):
            return context
    return None


def architecture_throughput(
    plain: Blip2ForConditionalGeneration,
    variant: Variant,
    tile: torch.Tensor,
    worker: WorkerContext,
    folder: Path,
    device_lock: DeviceLock,
    decoder: str,
) -> Throughput:
    """Captions a second of an architecture on this device, measured once a study."""
    base = worker.base
    protocol = Protocol.for_device(base.device, worker.reference_tokens, decoder)
    return known_throughput(
        folder,
        latency_context(base, protocol),
        variant.architecture(base.dtype, base.shape),
        lambda: measure_throughput(plain, base, tile, protocol, device_lock),
    )
