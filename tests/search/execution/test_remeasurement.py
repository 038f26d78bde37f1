"""The last trial of a search: after the last leg and once, lost without harm, its findings kept whatever else went wrong."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from rsopt.core.candidate import Leg
from search.engine.search import Search
from search.execution.messages import REMEASURE, Refused, encode
from search.execution.ray_searcher import LegSearcher
from search.execution.remeasurement import Remeasurement
from search.results.build_front import read_remeasured
from search.storage.layout import REMEASURED_FILE
from tests.support.example_study import REMEASURED
from tests.support.simulated_search import METADATA, measure, open_search, settings_of


class Last:
    """A final_task that has `config` to run and remembers what it heard."""

    def __init__(self, config: dict[str, Any] | None) -> None:
        self._config, self.heard_of = config, list[str | None]()

    def config(self) -> dict[str, Any] | None:
        """What was given."""
        return self._config

    def on_result(self, outcome: str | None) -> None:
        """Remembered."""
        self.heard_of.append(outcome)


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
def test_it_follows_the_last_leg_once(tmp_path: Path, result: Any, error: bool, heard: str | None) -> None:
    search, last = open_search(tmp_path, trials=3, slots=2), Last({REMEASURE: []})
    searcher = LegSearcher(search, lambda: None, last)
    trial, config = run_legs(searcher)
    assert config == {REMEASURE: []} and search.done
    assert searcher.suggest("other") is None  # a second worker waits
    searcher.on_trial_complete(trial, result, error=error)
    assert last.heard_of == [heard]
    assert searcher.suggest("after") == Searcher.FINISHED


def test_nothing_to_do_ends_at_once(tmp_path: Path) -> None:
    searcher = LegSearcher(open_search(tmp_path, trials=2, slots=1), lambda: None, Last(None))
    assert run_legs(searcher)[1] == Searcher.FINISHED


def test_a_stopped_search_has_none(tmp_path: Path) -> None:
    last = Last({REMEASURE: []})
    searcher = LegSearcher(open_search(tmp_path, trials=2, slots=1), lambda: None, last)
    assert run_legs(searcher, lambda leg: Refused("no base"))[1] == Searcher.FINISHED
    assert searcher.search.stopped and not last.heard_of


@pytest.fixture
def done(tmp_path: Path) -> Search:
    """A search that found a front."""
    search = open_search(tmp_path / "s", trials=4, slots=1)
    run_legs(LegSearcher(search, lambda: None))
    return search


def again_of(search: Search, folder: Path, notes: list[str]) -> Remeasurement:
    settings = replace(settings_of("s"), storage=str(folder))
    return Remeasurement(settings, METADATA, search, notes.append)


def test_what_was_found_is_kept_though_the_rest_was_not(done: Search, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    again = again_of(done, tmp_path, notes)
    config = again.config()
    assert config is not None
    number, *rest = [Leg.from_json(leg).number for leg in config[REMEASURE]]
    again.on_result(json.dumps({REMEASURE: {number: REMEASURED.to_json()}, "refused": "trial 9: no checkpoint"}))
    assert again.latencies == {number: REMEASURED} == read_remeasured(tmp_path / "s")
    assert [record.message for record in caplog.records] == ["latencies of the front not all taken again: trial 9: no checkpoint"]
    assert notes == [f"measuring the front's {1 + len(rest)} architectures again, with trained weights", ""]
    left = again_of(done, tmp_path, notes).config()  # a resumed session asks for the rest alone
    assert [Leg.from_json(leg).number for leg in (left or {REMEASURE: []})[REMEASURE]] == rest


def test_a_lost_worker_costs_only_its_figures(done: Search, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = again_of(done, tmp_path, [])
    assert again.config() is not None
    again.on_result(None)
    assert not again.latencies and "its worker was lost" in caplog.text
    assert not (tmp_path / "s" / REMEASURED_FILE).exists()
    assert again.config() is not None


def test_a_disk_that_refuses_is_told(
    done: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    again = again_of(done, tmp_path, [])
    config = again.config()
    assert config is not None
    number = Leg.from_json(config[REMEASURE][0]).number
    (tmp_path / "s" / REMEASURED_FILE).mkdir()  # a rename cannot replace it
    with caplog.at_level(logging.WARNING):
        again.on_result(json.dumps({REMEASURE: {number: REMEASURED.to_json()}}))
    assert again.latencies == {number: REMEASURED}
    assert "not all taken again" in caplog.text
