"""A study whose tuned full depth is below a baseline that hardly looks says so."""

from __future__ import annotations

from dataclasses import replace

from rsopt.core.baseline import BaselineScore
from search.results.below_baselines import all_below_blind, baseline_warnings, full_depth_warnings
from search.results.build_front import build_front
from tests.support.example_study import HISTORY, METADATA


def front_beside(candidates: int = len(HISTORY), **baselines: float):
    """The front of the example study's first candidates, whose full depth has CIDEr 80, beside these baselines."""
    scores = {name: BaselineScore(cider, 1.0) for name, cider in baselines.items()}
    return build_front("s", replace(METADATA, baselines=scores), HISTORY[:candidates])


def test_where_all_are_below_a_blind_baseline_the_verdict_says_it_and_no_warning() -> None:
    front = front_beside(blind_class=203.9, blind=36.4, nearest_image=251.7, people=232.0)
    assert all_below_blind(front) and baseline_warnings(front) == []


def test_one_member_above_the_blind_baseline_is_enough() -> None:
    front = front_beside(blind_class=79.9, blind=36.4, nearest_image=51.7, people=232.0)
    assert not all_below_blind(front) and baseline_warnings(front) == []


def test_a_member_that_sees_more_than_the_full_depth_does_is_enough_too() -> None:
    scores = {"blind": BaselineScore(90.0, 1.0)}
    better = replace(HISTORY[2], rungs=(replace(HISTORY[2].rungs[-1], metrics=HISTORY[2].rungs[-1].metrics | {"cider": 95.0}),))
    front = build_front("s", replace(METADATA, baselines=scores), (*HISTORY[:2], better))
    assert not all_below_blind(front)
    assert baseline_warnings(front) == full_depth_warnings(80.0, scores) != []


def test_below_the_nearest_image_alone_is_said() -> None:
    front = front_beside(blind=36.4, nearest_image=90.0)
    assert baseline_warnings(front) == [
        "full depth with LoRA has CIDEr 80.0, below the 90.0 of nearest_image, which only compares colours"
    ]
    blind, nearest = full_depth_warnings(30.0, front.baselines)
    assert "CIDEr 30.0, below the 36.4 of blind, which never looks" in blind and "nearest_image" in nearest


def test_without_a_finished_full_depth_or_baselines_nothing_is_said() -> None:
    for front in (front_beside(), front_beside(candidates=1, blind=999)):
        assert not all_below_blind(front) and baseline_warnings(front) == []
