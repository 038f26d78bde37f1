"""The front: states, flags, picks and volumes follow from the history alone."""

from __future__ import annotations

import pytest

from search.optimizer.pareto import non_dominated
from search.results.build_front import build_front
from tests.support.example_study import HISTORY, METADATA, OBJECTIVE_NAMES, REMEASURED


def test_flags_are_those_of_a_fresh_computation() -> None:
    front = build_front("s", METADATA, HISTORY)
    signs = [-1 if o.direction == "max" else 1 for o in front.objectives]
    values = [[s * t.objectives[n] for s, n in zip(signs, OBJECTIVE_NAMES, strict=True)] for t in front.finished]
    assert [t.pareto for t in front.finished] == non_dominated(values).tolist()
    assert {t.id for t in front.trials if t.pareto} == {1, 2, 4}
    assert front.picks == {"knee": 2, "best_cider": 1, "fastest": 4, "smallest": 4}


def test_members_of_an_architecture_that_was_measured_again_show_it() -> None:
    front = build_front("s", METADATA, HISTORY, {0: REMEASURED, 4: REMEASURED})
    assert [t.id for t in front.trials if t.latency_again == REMEASURED] == [1, 4]  # 0 is as deep as 1, and no member


def test_values_at_lower_rungs_are_on_no_front() -> None:
    resting = build_front("s", METADATA, HISTORY).trials[5]
    assert not resting.pareto
    assert resting.objectives == {}
    assert resting.rung == pytest.approx(0.33)


def test_reference_point_comes_from_full_depth_and_has_the_objectives_signs() -> None:
    front = build_front("s", METADATA, HISTORY)
    assert front.reference_point == pytest.approx([0.0, 55.0, 110.0])


def test_without_full_depth_there_is_no_volume() -> None:
    assert build_front("s", METADATA, HISTORY[:1]).hypervolume is None
