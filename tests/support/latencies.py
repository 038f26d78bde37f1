"""Latencies and a ledger context for tests that measure nothing."""

from __future__ import annotations

from rsopt.core.variant import Architecture
from rsopt.latency.ledger import Latency

CONTEXT = {"device": "card", "torch": "2.13", "protocol": {"new_tokens": 12, "decoder": "generate"}, "threads": 1}
FULL, HALF = Architecture(4, 6, 8, cross_layers=3), Architecture(4, 6, 4, cross_layers=3)


def latency(ms: float, reference_ms: float = 50.0, spread: float = 1.0) -> Latency:
    """A session in which the candidate took `ms` and the reference `reference_ms`."""
    return Latency(
        latency_ms=ms,
        p90_ms=1.1 * ms,
        interval_ms=(ms - spread, ms + spread),
        runs=8,
        new_tokens=12,
        beams=5,
        parts_ms={"vision": 0.1 * ms, "qformer": 0.1 * ms, "prefill": 0.2 * ms, "per_token": 0.6 * ms / 11},
        device="card",
        decoder="generate",
        raw_ms=ms,
        ratio=ms / reference_ms,
        reference_ms=reference_ms,
        drift=0.0,
    )


def never_measured() -> Latency:
    raise AssertionError("measured again")
