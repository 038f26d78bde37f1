"""Whether a latency was measured, predicted or disturbed, as the metrics beside it say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

LatencyKind = Literal["measured", "predicted", "disturbed"]
MARKS: dict[LatencyKind, str] = {"measured": "", "predicted": "~", "disturbed": "!"}
MARK_NOTES: dict[LatencyKind, str] = {
    "predicted": "~ not measured: predicted from the latencies of other depths, with the prediction's error",
    "disturbed": "! measured while other work disturbed it, with its 95 % interval",
}


def latency_kind(metrics: Mapping[str, float]) -> LatencyKind | None:
    """Returns how `latency_ms` came about; None where there is none."""
    if "latency_ms" not in metrics:
        return None
    if metrics.get("latency_predicted"):
        return "predicted"
    return "disturbed" if metrics.get("latency_disturbed") else "measured"


def latency_text(metrics: Mapping[str, float]) -> str:
    """Returns `latency_ms` for people; one that is predicted or disturbed has its mark and, where known, its interval."""
    kind, text = latency_kind(metrics) or "measured", f"{metrics['latency_ms']:.1f}"
    if kind == "measured" or "latency_low_ms" not in metrics:
        return MARKS[kind] + text
    return f"{MARKS[kind]}{text} ({metrics['latency_low_ms']:.1f}-{metrics['latency_high_ms']:.1f})"
