"""What a study's ledger says about a trial's latency: device, dtype and protocol of the number in its measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.latency.ledger import Ledger
from search.history import CandidateState


def recorded_latency(ledger: Path, state: CandidateState) -> dict[str, Any] | None:
    """The ledger's entry behind `latency_ms` of a trial, with its `dtype`; None where the ledger has none of these depths.

    A ledger may hold several devices and protocols: the entry of this very value counts, else the first of these depths.
    """
    wanted = state.final.metrics.get("latency_ms") if state.final else None
    if wanted is None:
        return None
    depths = state.candidate.variant.architecture()
    found = [e for e in Ledger(ledger).entries() if replace(e.architecture, dtype=depths.dtype) == depths]
    if not found:
        return None
    entry = next((e for e in found if e.latency.latency_ms == wanted), found[0])
    return {**entry.latency.to_json(), "latency_ms": wanted, "dtype": entry.architecture.dtype}
