"""What a study's ledger says about a trial's latency: device, dtype and protocol of the number in its measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search.history import CandidateState

DEPTHS = ("vision_layers", "qformer_layers", "llm_layers")


def recorded_latency(ledger: Path, state: CandidateState) -> dict[str, Any] | None:
    """The ledger's entry behind `latency_ms` of a trial, with its `dtype`; None where the ledger has none of these depths.

    A ledger may hold several devices and protocols: the entry of this very value counts, else the first of these depths.
    """
    wanted = state.final.metrics.get("latency_ms") if state.final else None
    if wanted is None:
        return None
    architecture = state.candidate.variant.architecture()
    depths = {part: getattr(architecture, part) for part in DEPTHS}
    found = [e for e in entries(ledger) if all(e["architecture"].get(k) == v for k, v in depths.items())]
    if not found:
        return None
    entry = next((e for e in found if e["latency"]["latency_ms"] == wanted), found[0])
    return {**entry["latency"], "latency_ms": wanted, "dtype": entry["architecture"]["dtype"]}


def entries(ledger: Path) -> list[dict[str, Any]]:
    """Lines of a latency ledger as {"architecture", "latency"}; a last one torn by a crash is left out. No torch."""
    if not ledger.is_file():
        return []
    lines = [json.loads(line) for line in ledger.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [{"architecture": line.get("key", line)["architecture"], "latency": line["latency"]} for line in lines]
