"""The front as people read it: what the table and the CSV show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from rsopt.core.inference import InferenceConfig
from search.results.build_front import build_front, front_variants
from search.results.inference_variants import MeasuredVariant
from search.results.refits import RefitScores
from search.results.table import front_csv, print_front
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
    print_front(build_front("s", METADATA, HISTORY, {4: REMEASURED}))
    assert "images/s" in (out := capsys.readouterr().out) and "33.2" in out
    print_front(FRONT)
    assert "images/s" not in capsys.readouterr().out


def test_the_table_marks_ties_refits_and_what_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    ties = {1: (2,), 2: (1,)}
    metrics = {"latency_ms": 5, "params": 40, "size_mb": 1.25}
    greedy = MeasuredVariant(4, GREEDY, {"cider": 29, **metrics})
    worse = MeasuredVariant(2, InferenceConfig("int8"), {"cider": 1, **metrics, "params": 80})
    front = replace(
        FRONT,
        trials=tuple(replace(t, same_cider=ties.get(t.id)) for t in FRONT.trials),
        refits={2: RefitScores(3, 3, 71.23, 0.84)},
        free=front_variants(FRONT, [greedy, worse]),
    )
    print_front(front, Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    two = next(line for line in lines if line.startswith("│     2 "))
    assert "71.2 ± 0.8 (3)" in two and two.rstrip("│ ").endswith("│ 1")
    rows = [line for line in lines if "int8" in line]
    assert len(rows) == 1 and "beam 1" in rows[0] and "1.25" in rows[0] and "free" in rows[0]
    assert any("1 more free points are dominated" in line for line in lines)
    assert sum(",free," in row for row in front_csv(front).splitlines()) == 2
