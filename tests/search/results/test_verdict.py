"""A study whose tuned full depth is below a blind baseline says so and recommends no export."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from rsopt.core.baseline import BaselineScore
from search.results.build_front import build_front
from search.results.table import print_front
from search.results.verdict import below_baselines, next_step, verdict
from tests.support.example_study import HISTORY, METADATA

EXPORT = "python -m search.export --name s --pick knee --out s-knee"


def front_beside(**baselines: float):
    """The example study, whose full depth has CIDEr 80, beside these baselines."""
    scores = {name: BaselineScore(cider, 1.0) for name, cider in baselines.items()}
    return build_front("s", replace(METADATA, baselines=scores), HISTORY)


def test_below_the_strongest_blind_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    front = front_beside(blind_class=203.9, blind=36.4, nearest_image=51.7, people=232.0)
    (line,) = verdict(front)
    assert "CIDEr 80.0, below the 203.9 of blind_class" in line
    assert "no export yet" in next_step(front, EXPORT) and "search.export" not in next_step(front, EXPORT)
    print_front(front, Console(width=160))
    assert line in capsys.readouterr().out


def test_above_blind_baselines_the_export_is_next_whatever_people_score() -> None:
    front = front_beside(blind_class=79.9, blind=36.4, nearest_image=51.7, people=232.0)
    assert verdict(front) == [] and next_step(front, EXPORT) == EXPORT


def test_below_the_nearest_image_alone_is_said() -> None:
    front = front_beside(blind=36.4, nearest_image=90.0)
    assert verdict(front) == ["full depth with LoRA has CIDEr 80.0, below the 90.0 of nearest_image, which only compares colours"]
    assert next_step(front, EXPORT) == EXPORT
    assert len(below_baselines(30.0, front.baselines)) == 2


def test_without_a_finished_full_depth_or_baselines_nothing_is_said() -> None:
    assert verdict(front_beside()) == [] and next_step(front_beside(), EXPORT) == EXPORT
    unfinished = build_front("s", replace(METADATA, baselines={"blind": BaselineScore(999, 1.0)}), HISTORY[:1])
    assert verdict(unfinished) == [] and next_step(unfinished, EXPORT) == EXPORT
