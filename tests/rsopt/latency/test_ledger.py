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


def test_the_scale_is_that_of_a_usual_session(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(110, 55))  # the first, and a slow one
    for layers, reference_ms in ((4, 50), (5, 50), (6, 51)):
        found, _ = ledger.get_or_measure(CONTEXT, replace(HALF, llm_layers=layers), lambda r=reference_ms: latency(1.2 * r, r))  # type: ignore[misc]
    assert found.latency_ms == pytest.approx(60) and found.raw_ms == pytest.approx(61.2)  # on the scale of 50 ms
    assert ledger.get(CONTEXT, FULL).latency_ms == pytest.approx(100)  # type: ignore[union-attr]
    assert sum(found.parts_ms.values()) == pytest.approx(sum(latency(60).parts_ms.values()))


def test_a_session_on_a_machine_that_was_slowed_is_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsopt.latency.ledger.SLOW", 1.5)
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.get_or_measure(CONTEXT, FULL, lambda: latency(100, 50))
    found, _ = ledger.get_or_measure(CONTEXT, HALF, lambda: latency(120, 100))  # everything took twice as long
    assert found.latency_ms == pytest.approx(60) and found.disturbed == "its reference took 100% longer than in another session"
    assert ledger.get(CONTEXT, HALF) is None
    ledger.get_or_measure(CONTEXT, HALF, lambda: latency(25, 25))  # that was the quiet one
    assert [e.architecture for e in ledger.entries()] == [HALF], "what was slow is found out later too"
    assert ledger.get_or_measure(CONTEXT | {"device": "other"}, FULL, lambda: latency(90, 90))[0].disturbed is None
    assert ledger.get_or_measure(CONTEXT, replace(FULL, dtype="bfloat16"), lambda: latency(90, 90))[0].disturbed is None


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
    half, _ = one.get_or_measure(CONTEXT, HALF, lambda: latency(66, 54))
    full = one.get(CONTEXT, FULL)
    # The other study meets one of them first: without all sessions its scale would be another.
    assert other.get_or_measure(CONTEXT, HALF, never_measured) == (half, False)
    assert other.get_or_measure(CONTEXT, FULL, never_measured) == (full, False)
    alone = Ledger(tmp_path / "other" / "latency.jsonl")
    assert alone.get(CONTEXT, HALF) == half, "a study's own ledger is whole without the shared one"


DISTURBED = "2 other processes on the card"


def test_a_disturbed_session_does_not_count_as_measured(tmp_path: Path) -> None:
    shared = tmp_path / "cache.jsonl"
    bad = replace(latency(100), disturbed=DISTURBED)
    one = Ledger(tmp_path / "one.jsonl", shared)
    found, new = one.get_or_measure(CONTEXT, FULL, lambda: bad)
    assert new and found.disturbed == DISTURBED and one.get(CONTEXT, FULL) is None
    assert one.get_or_measure(CONTEXT, FULL, lambda: latency(90))[0].latency_ms == 90, "it is measured again"
    assert one.get_or_measure(CONTEXT, FULL, never_measured) == (one.get(CONTEXT, FULL), False)
    assert Ledger(tmp_path / "two.jsonl", shared).get(CONTEXT, FULL) is None
    assert [e.latency.disturbed for e in Ledger(shared).entries()] == [None]


def test_a_disturbed_first_line_of_an_earlier_version_sets_no_scale(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    entries = [Entry(CONTEXT, FULL, replace(latency(200, 100), disturbed=DISTURBED)), Entry(CONTEXT, HALF, latency(60, 50))]
    path.write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in entries))
    assert [e.architecture for e in Ledger(path).entries()] == [HALF]
    assert Ledger(path).scale(CONTEXT, "float32").usual_ms == 50  # type: ignore[union-attr]


def test_a_disturbed_session_is_returned_on_the_ledgers_scale(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.add(Entry(CONTEXT, FULL, latency(100, 50)))
    found, _ = ledger.get_or_measure(CONTEXT, HALF, lambda: replace(latency(120, 100), disturbed=DISTURBED))
    assert found.latency_ms == pytest.approx(60) and found.disturbed


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


def _measure_own_device(path: Path, device: int, meeting: Any, out: Any) -> None:
    def session() -> Latency:
        meeting.wait(timeout=60)  # passed only once all eight are in their sessions: a lock that they share would break it
        return latency(100 + device)

    architecture = Architecture(4, 6, 1 + device, cross_layers=3)
    out.put(Ledger(path).get_or_measure(CONTEXT | {"device": f"card {device}"}, architecture, session)[0].latency_ms)


def test_eight_devices_measure_eight_architectures_of_one_study_at_the_same_time(tmp_path: Path) -> None:
    spawn = mp.get_context("spawn")
    meeting, out = spawn.Barrier(8), spawn.Queue()
    processes = [spawn.Process(target=_measure_own_device, args=(tmp_path / "a.jsonl", n, meeting, out)) for n in range(8)]
    for process in processes:
        process.start()
    assert sorted(out.get(timeout=90) for _ in processes) == [100 + n for n in range(8)]
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    assert {e.context["device"] for e in Ledger(tmp_path / "a.jsonl").entries()} == {f"card {n}" for n in range(8)}


def test_ties_are_overlapping_intervals() -> None:
    assert tied((98, 102), (101, 105)) and tied((98, 102), (102, 103))
    assert not tied((99, 101), (102, 104))


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
