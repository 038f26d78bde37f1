"""Latency and throughput of an architecture as a trial reports them: recorded, measured now, or predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import Blip2ForConditionalGeneration

from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel, whole_groups
from rsopt.latency.device import device_name
from rsopt.latency.ledger import Latency, Ledger
from rsopt.latency.metrics import latency_metrics, latency_on_other_device, predicted_latency
from rsopt.latency.protocol import latency_context, model_context
from rsopt.latency.throughput import Throughput, known_throughput, measure_throughput
from rsopt.model.vision_features import pixels
from rsopt.trial.context import TrialContext


def architecture_latency(
    context: TrialContext, architecture: Architecture, measure: Callable[[], Latency]
) -> dict[str, float] | None:
    """Metrics with the latency of an architecture on the device that counts; None where it is unknown.

    Recorded latencies come first. The first few architectures of a study are measured: `measure` times one here by the
    context's protocol. Others are predicted from those, and so are those whose session was disturbed, as far as that is
    possible (`latency_predicted` 1, `latency_error_ms`). A worker on another device than the one that counts never measures:
    it reads the ledger's entries of that device, or predicts from them.
    """
    base, ledger, device = context.worker.base, context.ledger, context.latency_device
    if device is None or device == device_name(base.device):
        key = latency_context(base, context.protocol)
        if (known := ledger.find(key, architecture)) is not None:
            return latency_metrics(known) | {"latency_measured": 0.0}
        every = base.shape.cross_attention_frequency
        if (model := _model(ledger, key, architecture, every)) is not None and model.covers(architecture):
            return predicted_latency(model, architecture)
        latency, new = ledger.get_or_measure(key, architecture, measure)
        model = _model(ledger, key, architecture, every) if latency.disturbed else None
        if model is not None and (predicted := predicted_latency(model, architecture)) is not None:
            return predicted
        return latency_metrics(latency) | {"latency_measured": float(new)}
    stated = _stated_context(ledger, device, model_context(base), context.decoder)
    if stated is None:
        return None
    return latency_on_other_device(ledger.entries(stated), architecture, base.shape.cross_attention_frequency)


def _model(ledger: Ledger, context: Mapping[str, Any], architecture: Architecture, every: int) -> LatencyModel | None:
    """The additive model of a context and dtype; None where it has no entries, or not for this architecture's Q-Former.

    Args:
        ledger: Measured architectures.
        context: Context of their latencies.
        architecture: What is to be predicted. The model knows Q-Formers in whole groups alone.
        every: The base's cross-attention frequency.
    """
    if architecture.qformer_layers != every * (architecture.cross_layers or 0):
        return None
    measured = whole_groups([e for e in ledger.entries(context) if e.architecture.dtype == architecture.dtype], every)
    return LatencyModel.of(measured) if measured else None


def _stated_context(ledger: Ledger, device: str, model: Mapping[str, Any], decoder: str) -> dict[str, Any] | None:
    """The ledger's first context of this device, base and decoder; its caption length and versions are what counts."""
    for context in ledger.contexts():
        same = context["device"] == device and context["protocol"]["decoder"] == decoder
        if same and all(context[name] == value for name, value in model.items()):
            return context
    return None


def architecture_throughput(context: TrialContext, plain: Blip2ForConditionalGeneration) -> Throughput:
    """Captions per second of the leg's architecture on this device, measured once a study; `plain` is its merged model."""
    base, protocol = context.worker.base, context.protocol
    tile = pixels(base, context.worker.data.split("val")[:1])
    return known_throughput(
        context.folder,
        latency_context(base, protocol),
        context.leg.candidate.variant.architecture(base.dtype, base.shape),
        lambda: measure_throughput(plain, base, tile, protocol, context.device_lock),
    )
