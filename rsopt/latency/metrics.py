"""Latency metrics of an architecture: of a session, looked up in a ledger of another device, or predicted. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel
from rsopt.latency.ledger import Entry, Latency


def latency_on_other_device(
    entries: Sequence[Entry], architecture: Architecture, cross_attention_frequency: int
) -> dict[str, float] | None:
    """Returns an architecture's latency metrics from entries of one context and dtype, or None where they do not give it.

    A prediction has `latency_predicted` 1 and its stated error, `latency_error_ms`.
    """
    wanted = replace(architecture, dtype=entries[0].architecture.dtype)
    for entry in entries:
        if entry.architecture == wanted:
            return latency_metrics(entry.latency) | {"latency_measured": 0.0}
    return predicted_latency(LatencyModel.fit(entries, cross_attention_frequency), wanted)


def predicted_latency(model: LatencyModel, architecture: Architecture) -> dict[str, float] | None:
    """Returns the metrics of a latency that `model` predicts, with its stated error; None where it predicts none."""
    predicted = model.predict(architecture)
    if predicted is None:
        return None
    latency_ms, error_ms = predicted
    return {
        "latency_ms": latency_ms,
        "latency_low_ms": latency_ms - error_ms,
        "latency_high_ms": latency_ms + error_ms,
        "latency_error_ms": error_ms,
        "latency_predicted": 1.0,
        "latency_predicted_from": float(model.entries),
        "latency_measured": 0.0,
    }


def latency_metrics(latency: Latency) -> dict[str, float]:
    """Returns a latency as metrics: value, interval, raw values, parts, and that of the other decoder."""
    metrics = {
        "latency_ms": latency.latency_ms,
        "latency_p90_ms": latency.p90_ms,
        "latency_low_ms": latency.interval_ms[0],
        "latency_high_ms": latency.interval_ms[1],
        "latency_raw_ms": latency.raw_ms,
        "latency_reference_ms": latency.reference_ms,
        "latency_runs": float(latency.runs),
        "latency_disturbed": float(latency.disturbed is not None),
    }
    metrics |= {f"latency_{name}_ms": value for name, value in latency.parts_ms.items()}
    scale = latency.latency_ms / latency.raw_ms
    return metrics | {f"latency_{name}_ms": scale * times["raw_ms"] for name, times in latency.other_decoders.items()}
