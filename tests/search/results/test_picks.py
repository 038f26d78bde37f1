"""What an export says of its latency is of the session behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rsopt.latency.ledger import Entry, Ledger
from search.results.picks import recorded_latency
from tests.support.example_study import HISTORY
from tests.support.latencies import CONTEXT, FULL, latency


def test_the_rounds_are_those_of_the_session_that_gave_the_latency(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "latency.jsonl")
    ledger.add(Entry(CONTEXT, FULL, latency(50.0)))
    assert (found := recorded_latency(ledger.path, HISTORY[1])) is not None and found["runs"] == 8
    final = HISTORY[1].rungs[-1]
    later = replace(final, metrics=final.metrics | {"latency_ms": 48.0, "latency_runs": 40.0})
    found = recorded_latency(ledger.path, replace(HISTORY[1], rungs=(later,)))
    assert found is not None and (found["latency_ms"], found["runs"]) == (48.0, 40)
    assert recorded_latency(ledger.path, HISTORY[5]) is None
