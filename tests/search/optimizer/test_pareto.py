"""The front against brute force, on a coarse grid of values so that ties and duplicates are common."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsopt.core.objectives import OBJECTIVES
from search.optimizer.pareto import hypervolume, knee, non_dominated, picks

MANY = settings(max_examples=1000, deadline=None)


@st.composite
def point_sets(draw, most=9):
    m = draw(st.integers(2, 4))
    rows = draw(st.lists(st.lists(st.integers(-3, 4), min_size=m, max_size=m), min_size=1, max_size=most))
    return np.array(rows, dtype=float)


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def brute_flags(points):
    return [not any(dominates(other, point) for other in points) for point in points]


def brute_volume(points, corner):
    """Inclusion-exclusion over the boxes between points and corner."""
    total = 0.0
    boxes = [p for p in points if (p < corner).all()]
    for size in range(1, len(boxes) + 1):
        for some in combinations(boxes, size):
            total -= (-1) ** size * np.prod(corner - np.max(some, axis=0))
    return total


@MANY
@given(point_sets())
def test_flags_equal_brute_force(points):
    assert non_dominated(points).tolist() == brute_flags(points)


@MANY
@given(point_sets(most=7))
def test_hypervolume_equals_inclusion_exclusion(points):
    corner = np.full(points.shape[1], 3.0)  # some points lie on it or outside
    assert hypervolume(points, corner) == pytest.approx(brute_volume(points, corner), abs=1e-9)


@MANY
@given(point_sets(), st.data())
def test_a_dominated_point_changes_nothing(points, data):
    below = points[data.draw(st.integers(0, len(points) - 1))]
    steps = data.draw(st.lists(st.integers(0, 3), min_size=len(below), max_size=len(below)))
    worse = below + np.array(steps) + np.eye(len(below))[0]
    more = np.vstack([points, worse])
    ids, corner = list(range(len(more))), np.full(points.shape[1], 4.5)
    objectives = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params", "gmacs")][: points.shape[1]]
    assert non_dominated(more).tolist() == [*non_dominated(points).tolist(), False]
    assert hypervolume(more, corner) == pytest.approx(hypervolume(points, corner))
    assert picks(ids, more, objectives) == picks(ids[:-1], points, objectives)


@MANY
@given(point_sets(), st.randoms())
def test_order_of_arrival_changes_nothing(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    shuffled = points[order]
    assert non_dominated(shuffled).tolist() == non_dominated(points)[order].tolist()
    assert hypervolume(shuffled, [3.0] * points.shape[1]) == pytest.approx(hypervolume(points, [3.0] * points.shape[1]))
    assert shuffled[knee(shuffled)].tolist() == points[knee(points)].tolist()


def test_hypervolume_of_many_points_equals_a_grid_count():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 12, (60, 3)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(10)] * 3), axis=-1).reshape(-1, 1, 3)
    filled = (points[None] <= cells).all(axis=2).any(axis=1).sum()
    assert hypervolume(points, [10, 10, 10]) == pytest.approx(filled)


def test_equal_points_are_all_kept():
    assert non_dominated([[1, 2], [1, 2], [2, 2]]).tolist() == [True, True, False]
    assert non_dominated([[1], [2], [1]]).tolist() == [True, False, True]


def test_nothing_gives_nothing():
    assert non_dominated([]).tolist() == []
    assert hypervolume([], [1, 1]) == hypervolume(np.zeros((0, 2)), [1, 1]) == 0.0
    assert hypervolume([[1, 0], [2, 2]], [1, 1]) == 0.0
    assert picks([], [], [OBJECTIVES["cider"]]) == {}
    with pytest.raises(ValueError, match="no points"):
        knee([])


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        non_dominated([[1, float("nan")]])
    with pytest.raises(ValueError, match="objectives"):
        hypervolume([[1, 2, 3]], [1, 1])


def test_the_knee_bends_most():
    curve = [[0, 10], [1, 2], [2, 1.5], [10, 0]]
    assert knee(curve) == 1
    assert knee([*curve, [9, 9]]) == 1


def test_the_knee_of_few_points_and_flat_axes():
    assert knee([[3, 4]]) == 0
    assert knee([[2, 0], [0, 2]]) == 1  # a tie: better in the first objective
    assert knee([[2, 0, 7], [0, 2, 7], [0.5, 0.5, 7]]) == 2  # the third says nothing
    assert knee([[1, 1], [1, 1]]) == 0


def test_picks_follow_the_objectives_of_the_space():
    values = [[-90, 50, 9e6], [-80, 30, 8e6], [-60, 20, 8e6], [-60, 40, 7e6], [-10, 90, 9e6]]
    three = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params")]
    chosen = picks([10, 11, 12, 13, 14], values, three)
    assert {name: chosen[name] for name in ("best_cider", "fastest", "smallest")} == {
        "best_cider": 10,
        "fastest": 12,
        "smallest": 13,
    }
    two = [OBJECTIVES["cider"], OBJECTIVES["trainable"]]
    assert set(picks([0, 1], [[-1, 2], [-2, 3]], two)) == {"knee", "best_cider"}
