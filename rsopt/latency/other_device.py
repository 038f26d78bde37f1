"""An architecture's latency on a device that is not here: from a ledger written there, or predicted from it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel
from rsopt.latency.ledger import Entry, Latency


def latency_on_other_device(
    entries: Sequence[Entry], architecture: Architecture, cross_attention_frequency: int
) -> dict[str, float] | None:
    """Metrics of an architecture from a ledger's entries of one context and dtype; None where they say nothing of it.

    A predicted latency says so (`latency_predicted` 1) and how far it may be off (`latency_error_ms`).
    """
    there = replace(architecture, dtype=entries[0].architecture.dtype)
    for entry in entries:
        if entry.architecture == there:
            return latency_metrics(entry.latency) | {"latency_measured": 0.0}
    predicted = LatencyModel.fit(entries, cross_attention_frequency).predict(there)
    if predicted is None:
        return None
    latency_ms, error_ms = predicted
    return {
        "latency_ms": latency_ms,
        "latency_low_ms": latency_ms - error_ms,
        "latency_high_ms": latency_ms + error_ms,
        "latency_error_ms": error_ms,
        "latency_predicted": 1.0,
        "latency_measured": 0.0,
    }


def latency_metrics(latency: Latency) -> dict[str, float]:
    """A latency as metrics: its figure and interval, what it was made from, its parts, and the other decoder's."""
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
    return metrics | {f"latency_{name}_ms": scale * found["raw_ms"] for name, found in latency.other_decoders.items()}
