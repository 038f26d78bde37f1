"""The front as people read it: what the table and the CSV show."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from rich.console import Console

from rsopt.core.inference import InferenceConfig
from search.results.build_front import build_front, front_variants
from search.results.inference_variants import MeasuredVariant
from search.results.refits import RefitScores
from search.results.table import front_csv, print_front
from search.study.history import CandidateState
from search.study.latencies import with_best_latencies
from search.study.limits import Limits
from tests.support.example_study import HISTORY, METADATA, REMEASURED

FRONT = build_front("s", METADATA, HISTORY)
GREEDY = InferenceConfig("int8", 1)


def test_the_table_shows_members_references_baselines_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    print_front(build_front("s", METADATA, HISTORY), Console(width=160))
    text = capsys.readouterr().out
    for part in (
        "knee",
        "best_cider",
        "zero-shot base",
        "blind_class",
        "42.5",
        "baseline, 75% of images",
        "99.5",
        "training loss is nan",
    ):
        assert part in text


def test_throughput_is_shown_where_it_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    again = {4: REMEASURED}
    print_front(build_front("s", METADATA, with_best_latencies(HISTORY, again, Limits()), again))
    assert "images/s" in (out := capsys.readouterr().out) and "33.2" in out
    print_front(FRONT)
    assert "images/s" not in capsys.readouterr().out


def test_a_latency_that_was_not_measured_undisturbed_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    def marked(number: int, mark: str) -> CandidateState:
        c = HISTORY[number]
        metrics = c.rungs[-1].metrics | {"latency_low_ms": 19.0, "latency_high_ms": 41.5, mark: 1.0}
        return replace(c, rungs=(replace(c.rungs[-1], metrics=metrics),))

    history = (*HISTORY[:2], marked(2, "latency_predicted"), HISTORY[3], marked(4, "latency_disturbed"), *HISTORY[5:])
    front = build_front("s", METADATA, history)
    print_front(front, Console(width=160))
    out = capsys.readouterr().out
    assert "~40.0 (19.0-41.5)" in out and "!20.0 (19.0-41.5)" in out
    assert "  ~ not measured: predicted" in out and "  ! measured while other work" in out
    kinds = {row["trial"]: row["latency_kind"] for row in csv.DictReader(front_csv(front).splitlines())}
    assert (kinds["1"], kinds["2"], kinds["4"], kinds["6"]) == ("measured", "predicted", "disturbed", "")
    print_front(FRONT, Console(width=160))
    assert "~" not in (out := capsys.readouterr().out) and "!" not in out


def test_a_form_that_was_measured_has_no_mark_of_its_trial(capsys: pytest.CaptureFixture[str]) -> None:
    trials = tuple(replace(t, metrics={**t.metrics, "latency_predicted": 1.0}) if t.id == 4 else t for t in FRONT.trials)
    front = replace(FRONT, trials=trials)
    greedy = MeasuredVariant(4, GREEDY, {"cider": 29, "latency_ms": 5.5, "params": 40})
    print_front(replace(front, free=front_variants(front, [greedy])), Console(width=160))
    out = capsys.readouterr().out
    assert "~20.0" in out and "~5.5" not in out and "5.5" in out


def test_the_table_marks_ties_refits_and_what_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    ties, groups = {1: (2,), 2: (1,)}, {1: ("a",), 2: ("a", "b")}
    metrics = {"latency_ms": 5, "params": 40, "size_mb": 1.25}
    greedy = MeasuredVariant(4, GREEDY, {"cider": 29, **metrics})
    worse = MeasuredVariant(2, InferenceConfig("int8"), {"cider": 1, **metrics, "params": 80})
    front = replace(
        FRONT,
        trials=tuple(replace(t, same_cider=ties.get(t.id), cider_groups=groups.get(t.id)) for t in FRONT.trials),
        refits={2: RefitScores(3, 3, 71.23, 0.84)},
        free=front_variants(FRONT, [greedy, worse]),
    )
    print_front(front, Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    two = next(line for line in lines if line.startswith("│     2 "))
    assert "71.2 ± 0.8 (3)" in two and two.rstrip("│ ").endswith("│ a b")
    assert any("trials that share a letter cannot be told apart" in line for line in lines)
    rows = [line for line in lines if "int8" in line]
    assert len(rows) == 1 and "beam 1" in rows[0] and "1.25" in rows[0] and "free" in rows[0]
    assert any("1 more free points are dominated" in line for line in lines)
    assert sum(",free," in row for row in front_csv(front).splitlines()) == 2
