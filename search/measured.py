"""What a study's ledger says about a trial's latency: device, dtype and protocol of the number in its measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search.history import CandidateState


def recorded_latency(ledger: Path, state: CandidateState) -> dict[str, Any] | None:
    """The ledger's entry behind `latency_ms` of a trial, with its `dtype`; None where the ledger has none.

    The entry is found by the depths and by the value itself, since a ledger may hold several devices and protocols.
    """
    wanted = state.final.metrics.get("latency_ms") if state.final else None
    if wanted is None or not ledger.is_file():
        return None
    architecture = state.candidate.variant.architecture()
    depths = {part: getattr(architecture, part) for part in ("vision_layers", "qformer_layers", "llm_layers")}
    for line in ledger.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # torn by a crash
        entry = json.loads(line)
        found = entry["key"]["architecture"]
        if entry["latency"]["latency_ms"] == wanted and depths.items() <= found.items():
            return {**entry["latency"], "dtype": found["dtype"]}
    return None
