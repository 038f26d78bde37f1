"""The hypervolume's scale comes from full depth alone: a growing front never lowers it, and a blind baseline can bound it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.baseline import BaselineScore
from rsopt.core.objectives import OBJECTIVES
from search.results.build_front import build_front
from search.results.hypervolume import HypervolumeScale
from tests.support.example_study import HISTORY, METADATA

CHOSEN = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params")]
SCALE = HypervolumeScale.of(HISTORY, CHOSEN)  # full depth: CIDEr 80, 50 ms, 100 parameters
POINT = st.tuples(st.floats(-200, 0), st.floats(0, 80), st.floats(0, 150))


@given(st.lists(POINT, min_size=1, max_size=12))
def test_another_point_never_lowers_it(points: list[tuple[float, float, float]]) -> None:
    assert SCALE is not None
    for measure in (SCALE.share, lambda some: SCALE.share_above(some, 42.5)):
        shares = [measure(points[:n]) for n in range(len(points) + 1)]
        assert shares[0] == 0 and all(a <= b * (1 + 1e-12) for a, b in pairwise(shares))


def test_one_is_full_depths_cider_at_no_cost() -> None:
    assert SCALE is not None and SCALE.share([(-80, 0, 0)]) == pytest.approx(1)
    assert SCALE.share([(-80, 50, 100)]) == pytest.approx((1 - 50 / 55) * (1 - 100 / 110))
    speed = HypervolumeScale.of(
        tuple(replace(c, rungs=(replace(c.rungs[0], metrics={"cider": 80.0, "captions_per_s": 4.0}),)) for c in HISTORY[1:2]),
        [OBJECTIVES["cider"], OBJECTIVES["captions_per_s"]],
    )
    assert speed is not None and speed.share([(-80, -4)]) == pytest.approx(1) and speed.share([(-80, -8)]) == pytest.approx(2)


def test_only_what_is_above_the_strongest_blind_baseline_counts_there() -> None:
    front = build_front("s", METADATA, HISTORY)  # blind_class has 42.5: trial 4 (CIDEr 30) is below it
    assert SCALE is not None and front.hypervolume_share is not None
    above = SCALE.share([(-(80 - 42.5), 50, 100), (-(70 - 42.5), 40, 80)])
    assert front.hypervolume_above_blind == pytest.approx(above) and 0 < above < front.hypervolume_share
    both = {name: BaselineScore(cider, 1.0) for name, cider in (("blind_class", 20.0), ("blind", 75.0))}
    higher = build_front("s", replace(METADATA, baselines=both), HISTORY).hypervolume_above_blind
    assert higher == pytest.approx(SCALE.share([(-5, 50, 100)]))
    everything_below = replace(METADATA, baselines={"blind": BaselineScore(203.9, 1.0)})
    assert build_front("s", everything_below, HISTORY).hypervolume_above_blind == 0
    nothing_known = replace(METADATA, baselines={"people": BaselineScore(99.5, 1.0)})
    assert build_front("s", nothing_known, HISTORY).to_json()["hypervolume_above_blind"] is None


def test_a_full_depth_without_cider_gives_no_scale_to_divide_by() -> None:
    full = replace(HISTORY[1], rungs=(replace(HISTORY[1].rungs[-1], metrics=HISTORY[1].rungs[-1].metrics | {"cider": 0.0}),))
    front = build_front("s", METADATA, (HISTORY[0], full, *HISTORY[2:]))
    assert front.hypervolume_share == 0
