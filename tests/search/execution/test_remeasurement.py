"""The last trials of a search: after the last leg, shared by the workers, repeated where disturbed, lost without harm."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from rsopt.core.candidate import Leg
from rsopt.core.objectives import Measurement
from search.engine.search import Search
from search.execution.messages import REMEASURE, Refused, encode
from search.execution.ray_searcher import LegSearcher
from search.execution.remeasurement import PATIENCE, PAUSES_S, Remeasurement, summary_line
from search.storage.layout import REMEASURED_FILE
from search.study.latencies import read_remeasured
from tests.support.simulated_search import measure, open_search


class Last:
    """A final task of so many trials that remembers what it heard."""

    def __init__(self, trials: int) -> None:
        self.left, self.running, self.heard_of = list(range(trials)), 0, list[tuple[Any, str | None]]()

    def config(self) -> dict[str, Any] | None:
        """The next trial."""
        if not self.left:
            return None
        self.running += 1
        return {REMEASURE: self.left.pop(0)}

    def on_result(self, config: Any, outcome: str | None) -> None:
        """Remembered."""
        self.running -= 1
        self.heard_of.append((config[REMEASURE], outcome))

    @property
    def done(self) -> bool:
        """Whether nothing is left, and nothing runs."""
        return not self.left and not self.running


def run_legs(searcher: LegSearcher, result: Any = None) -> tuple[str, Any]:
    """Run legs until something else is suggested: its trial and what it is. `result` makes an outcome of a leg."""
    for step in range(1000):
        config = searcher.suggest(f"t{step}")
        if not isinstance(config, dict) or REMEASURE in config:
            return f"t{step}", config
        leg = Leg.from_json(config["leg"])
        searcher.on_trial_complete(f"t{step}", {"outcome": encode(result(leg) if result else measure(leg))})
    raise AssertionError("the search does not end")


@pytest.mark.parametrize(
    ("result", "error", "heard"), [({"outcome": "found"}, False, "found"), (None, True, None), ({}, False, None)]
)
def test_its_trials_follow_the_last_leg_side_by_side(tmp_path: Path, result: Any, error: bool, heard: str | None) -> None:
    search, last = open_search(tmp_path, trials=3, slots=2), Last(2)
    searcher = LegSearcher(search, lambda: None, last)
    trial, config = run_legs(searcher)
    assert config == {REMEASURE: 0} and search.done
    assert searcher.suggest("other") == {REMEASURE: 1}
    assert searcher.suggest("third") is None  # a third worker waits
    searcher.on_trial_complete("other", {"outcome": "one"})
    searcher.on_trial_complete(trial, result, error=error)
    assert last.heard_of == [(1, "one"), (0, heard)]
    assert searcher.suggest("after") == Searcher.FINISHED


def test_nothing_to_do_ends_at_once(tmp_path: Path) -> None:
    searcher = LegSearcher(open_search(tmp_path, trials=2, slots=1), lambda: None, Last(0))
    assert run_legs(searcher)[1] == Searcher.FINISHED


def test_a_stopped_search_has_none(tmp_path: Path) -> None:
    last = Last(1)
    searcher = LegSearcher(open_search(tmp_path, trials=2, slots=1), lambda: None, last)
    assert run_legs(searcher, lambda leg: Refused("no base"))[1] == Searcher.FINISHED
    assert searcher.search.stopped and last.left


@pytest.fixture
def done(tmp_path: Path) -> Search:
    """A search that found a front; the deeper, the better and the slower."""
    search = open_search(tmp_path / "s", trials=5, slots=1)
    run_legs(LegSearcher(search, lambda: None))
    return search


class Clock:
    """Seconds that pass only when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def session(ms: float, disturbed: bool = False) -> dict[str, float]:
    """Metrics of a session of `ms` milliseconds."""
    interval = {"latency_low_ms": 0.99 * ms, "latency_high_ms": 1.01 * ms}
    return {"latency_ms": ms, **interval, "latency_disturbed": float(disturbed)}


def told(metrics: dict[str, float]) -> str:
    """What a worker says of a session."""
    return json.dumps({REMEASURE: metrics, "seconds": 1.5})


def configs(again: Remeasurement) -> Iterator[tuple[dict[str, Any], Leg]]:
    """The trials that can start now, with their legs."""
    while (config := again.config()) is not None:
        yield config, Leg.from_json(config[REMEASURE])


def depth(leg: Leg) -> int:
    """Its LLM layers."""
    return len(leg.candidate.variant.llm_layers)


def test_every_architecture_of_the_front_is_measured_once_and_its_latency_counts(done: Search, tmp_path: Path) -> None:
    notes: list[str] = []
    again = Remeasurement(done, notes.append)
    started = list(configs(again))  # all at once, for as many workers as there are
    depths = [depth(leg) for _, leg in started]
    assert len(depths) == len(set(depths)) and {8} < set(depths) and not again.done
    assert notes[0].startswith("measuring the front's latencies again, with trained weights")
    for config, leg in started:
        again.on_result(config, told(session(7.0 * depth(leg))))
    assert again.done and again.config() is None and notes[-1] == ""
    for c in done.history:
        if c.final and len(c.candidate.variant.llm_layers) in depths:
            assert c.final.metrics["latency_ms"] == 7.0 * len(c.candidate.variant.llm_layers), "of the whole architecture"
    assert read_remeasured(tmp_path / "s" / "study") == done.remeasured
    line = summary_line(again.latencies)
    assert line is not None and f"{len(started)} architectures" in line and "40.0 -> 56.0 ms" in line
    assert Remeasurement(done, notes.append).done, "a resumed session has nothing left"


def test_a_disturbed_session_is_repeated_after_the_others_and_counts_only_when_it_is_quiet(done: Search) -> None:
    clock = Clock()
    again = Remeasurement(done, lambda _: None, clock)
    clock.now = 1000.0  # the search took so long
    (first, leg), *others = configs(again)
    before = done.history[leg.number].final
    again.on_result(first, told(session(99.0, disturbed=True)))
    assert done.history[leg.number].final == before, "a disturbed session decides nothing"
    for config, other in others:
        again.on_result(config, told(session(5.0 * depth(other))))
    ((repeated, leg_again),) = configs(again)
    assert leg_again == leg and (first["pause_s"], repeated["pause_s"]) == PAUSES_S[:2]
    again.on_result(repeated, told(session(41.0)))
    assert again.done and done.history[leg.number].final.metrics["latency_ms"] == 41.0  # type: ignore[union-attr]


def test_the_waiting_for_a_quiet_machine_ends(done: Search) -> None:
    clock = Clock()
    again = Remeasurement(done, lambda _: None, clock)
    clock.now = 100.0
    for _ in range(200):
        for config, leg in configs(again):
            clock.now += config["pause_s"]
            again.on_result(config, told(session(5.0 * leg.number, disturbed=True)))
        if again.done:
            break
    assert again.done and clock.now < 100 + PATIENCE * 100 + max(PAUSES_S), "at most a share of the search, and the last pause"
    assert summary_line(again.latencies).endswith("disturbed by other programs")  # type: ignore[union-attr]


def test_candidates_that_may_enter_the_front_are_measured(tmp_path: Path) -> None:
    def outcome(leg: Leg) -> Measurement:
        """All but the full depth are predicted, too slow for the front unless the prediction errs."""
        found = measure(leg)
        if depth(leg) == 8:
            return found
        low = 39.0 if depth(leg) == 7 else 41.0
        interval = {"latency_ms": 45.0, "latency_low_ms": low, "latency_high_ms": 51.0, "latency_error_ms": 6.0}
        return Measurement(found.rung, {**found.metrics, "params": 9e6, **interval, "latency_predicted": 1.0}, {})

    search = open_search(tmp_path / "s", trials=5, slots=1)
    run_legs(LegSearcher(search, lambda: None), outcome)
    depths = {len(c.candidate.variant.llm_layers) for c in search.history if c.final}
    wanted = [depth(leg) for _, leg in configs(Remeasurement(search, lambda _: None))]
    assert 7 in depths and min(depths) < 7 and sorted(wanted) == [7, 8]


def test_a_refusal_costs_only_its_figure(done: Search, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = Remeasurement(done, lambda _: None)
    for config, _ in list(configs(again)):
        again.on_result(config, json.dumps({"refused": "the checkpoint is gone"}))
    assert again.done and not again.latencies and "the checkpoint is gone" in caplog.text
    assert not (tmp_path / "s" / "study" / REMEASURED_FILE).exists()


def test_a_lost_worker_is_replaced(done: Search, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    again = Remeasurement(done, lambda _: None, clock)
    clock.now = 1000.0
    (config, leg), *_ = list(configs(again))
    again.on_result(config, None)
    assert "its worker was lost" in caplog.text
    assert [other for _, other in configs(again)] == [leg]


def test_a_disk_that_refuses_is_told(done: Search, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = Remeasurement(done, lambda _: None)
    config, leg = next(configs(again))
    (tmp_path / "s" / "study" / REMEASURED_FILE).mkdir()  # a rename cannot replace it
    with caplog.at_level(logging.WARNING):
        again.on_result(config, told(session(33.0)))
    assert done.history[leg.number].final.metrics["latency_ms"] == 33.0  # type: ignore[union-attr]
    assert "was not measured again" in caplog.text
