"""The ledger: every architecture once, on one scale, and never for another device, version or protocol."""

from __future__ import annotations

import json
import multiprocessing as mp
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.variant import Architecture
from rsopt.latency.ledger import Entry, Latency, Ledger, tied
from tests.support.latencies import CONTEXT, FULL, HALF, latency, never_measured


def test_what_is_recorded_is_not_measured_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    found, new = ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100))
    assert new and found.latency_ms == 100
    again, new = Ledger(tmp_path / "a.jsonl").get_or_measure(CONTEXT, FULL, never_measured)
    assert not new and again == found


@pytest.mark.parametrize(
    "other",
    [{"device": "other card"}, {"torch": "2.14"}, {"protocol": {"new_tokens": 11, "decoder": "generate"}}, {"threads": 2}],
)
def test_another_device_version_or_protocol_never_serves(tmp_path: Path, other: dict[str, Any]) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100))
    found, new = ledger.get_or_measure(CONTEXT | other, FULL, lambda: latency(30, 10))
    assert new and found.latency_ms == 30
    assert ledger.get(CONTEXT, FULL).latency_ms == 100  # type: ignore[union-attr]


def test_other_depths_dtypes_and_crossing_layers_are_other_entries(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100))
    for other in (HALF, replace(FULL, dtype="bfloat16"), replace(FULL, cross_layers=6)):
        assert ledger.get(CONTEXT, other) is None


def test_a_slow_moment_does_not_make_an_architecture_slow(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100, 50))
    found, _ = ledger.get_or_measure(CONTEXT, HALF, lambda: latency(120, 100))  # everything took twice as long
    assert found.latency_ms == pytest.approx(60) and found.raw_ms == 120
    assert found.interval_ms == pytest.approx((59.5, 60.5))
    assert sum(found.parts_ms.values()) == pytest.approx(sum(latency(120, 100).parts_ms.values()) / 2)
    assert ledger.reference_ms(CONTEXT) == 50


@given(st.lists(st.tuples(st.floats(10, 1000), st.floats(10, 1000)), min_size=2, max_size=6))
def test_order_follows_the_ratio_to_the_reference(sessions: list[tuple[float, float]]) -> None:
    first = sessions[0][1]
    values = [latency(ms, ref).relative_to(first).latency_ms for ms, ref in sessions]
    expected = [first * ms / ref for ms, ref in sessions]
    assert values == pytest.approx(expected)
    twice = [latency(ms, ref).relative_to(3.0).relative_to(first).latency_ms for ms, ref in sessions]
    assert twice == pytest.approx(expected), "a scale leaves no trace"


def test_a_second_study_measures_nothing_and_has_the_same_scale(tmp_path: Path) -> None:
    shared = tmp_path / "cache" / "latency.jsonl"
    one, other = (Ledger(tmp_path / name / "latency.jsonl", shared) for name in ("one", "other"))
    full, _ = one.get_or_measure(CONTEXT, FULL, lambda: latency(100, 50))
    half, _ = one.get_or_measure(CONTEXT, HALF, lambda: latency(120, 100))
    # The other study meets them in another order: without the shared reference its scale would be another.
    assert other.get_or_measure(CONTEXT, HALF, never_measured) == (half, False)
    assert other.get_or_measure(CONTEXT, FULL, never_measured) == (full, False)
    alone = Ledger(tmp_path / "other" / "latency.jsonl")
    assert alone.get(CONTEXT, HALF) == half, "a study's own ledger is whole without the shared one"


def test_disturbed_figures_stay_within_their_study(tmp_path: Path) -> None:
    shared = tmp_path / "cache.jsonl"
    bad = replace(latency(100), disturbed="2 other processes on the card")
    one = Ledger(tmp_path / "one.jsonl", shared)
    assert one.get_or_measure(CONTEXT, FULL, lambda: bad)[1]
    assert not one.get_or_measure(CONTEXT, FULL, never_measured)[1]
    assert Ledger(tmp_path / "two.jsonl", shared).get_or_measure(CONTEXT, FULL, lambda: latency(90))[1]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ledger = Ledger(path)
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100))
    with path.open("a") as file:
        file.write('{"context": {"dev')
    assert ledger.get(CONTEXT, FULL) is not None
    ledger.get_or_measure(CONTEXT, HALF, lambda: latency(60))
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2


def _measure_once(path: Path, out: Any) -> None:
    def slow() -> Latency:
        time.sleep(0.5)
        return latency(100)

    out.put(Ledger(path).get_or_measure(CONTEXT, FULL, slow)[1])


def test_of_two_processes_one_measures_and_the_other_reads(tmp_path: Path) -> None:
    spawn = mp.get_context("spawn")
    out = spawn.Queue()
    processes = [spawn.Process(target=_measure_once, args=(tmp_path / "a.jsonl", out)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(out.get(timeout=60) for _ in processes) == [False, True]
    for process in processes:
        process.join(10)
    assert len(Ledger(tmp_path / "a.jsonl").entries()) == 1


def test_ties_are_overlapping_intervals() -> None:
    assert tied(latency(100, spread=2), latency(103, spread=2))
    assert not tied(latency(100, spread=1), latency(103, spread=1))


def test_an_entry_survives_json(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    entry = Entry(CONTEXT, HALF, latency(60))
    ledger.add(entry)
    ledger.add(entry)
    assert ledger.entries() == [entry]
    ledger.add(Entry(CONTEXT | {"device": "other card"}, HALF, latency(60)))
    ledger.add(Entry(CONTEXT, FULL, latency(100)))
    assert [context["device"] for context in ledger.contexts()] == ["card", "other card"]


def test_files_and_keys_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    entry = Entry(CONTEXT, Architecture(4, 6, 4, "bfloat16", cross_layers=3), latency(60))
    Ledger(path).add(entry)
    assert entry.key == "e608404f2e2f2b82"
    start = '{"architecture": {"dtype": "bfloat16", "llm_layers": 4, "qformer_layers": 6, "vision_layers": 4}, "context": {'
    assert path.read_text().startswith(start) and '"threads": 1, "torch": "2.13"}, "cross_layers": 3, "latency": {' in (
        path.read_text()
    )
