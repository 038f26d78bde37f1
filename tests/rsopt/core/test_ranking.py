"""Orders in which layers go."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.ranking import STRATEGIES, kept_layers, kept_qformer_layers, static_ranking
from rsopt.errors import UserError


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("prefix", (7, 6, 5, 4, 3, 2, 1, 0)),
        ("keep_last", (6, 5, 4, 3, 2, 1, 0, 7)),
        ("alternate", (6, 4, 2, 0, 5, 1, 3, 7)),
        ("symmetric", (4, 3, 5, 2, 6, 1, 7, 0)),
    ],
)
def test_eight_layers(strategy, order):
    assert static_ranking(strategy, 8) == order


def test_alternate_drops_what_the_paper_drops():
    # Sajjad et al.: of 12 layers, dropping 4 of the odd ones leaves out 5, 7, 9, 11 (counted from 1).
    assert set(static_ranking("alternate", 12)[:4]) == {4, 6, 8, 10}


@given(st.sampled_from(STRATEGIES), st.integers(1, 40))
def test_every_order_is_nested_and_whole(strategy, depth):
    order = static_ranking(strategy, depth)
    assert kept_layers(order, depth) == tuple(range(depth))
    subsets = [set(kept_layers(order, k)) for k in range(1, depth + 1)]
    assert all(len(s) == k for k, s in enumerate(subsets, 1))
    assert all(small < large for small, large in pairwise(subsets))


def test_symmetric_keeps_both_ends():
    assert kept_layers(static_ranking("symmetric", 12), 6) == (0, 1, 2, 9, 10, 11)


def test_qformer_subsets_are_whole_pairs():
    assert kept_qformer_layers((1, 0, 2), 4, 2) == (0, 1, 4, 5)
    assert kept_qformer_layers((1, 0, 2), 2, 1) == (0, 2)
    with pytest.raises(UserError, match="3 Q-Former layers are not whole groups of 2"):
        kept_qformer_layers((1, 0, 2), 3, 2)


def test_bad_orders_are_refused():
    for bad, match in [
        (lambda: static_ranking("best", 4), "unknown ranking 'best'; known: prefix, keep_last, alternate, symmetric"),
        (lambda: kept_layers((0, 0, 1), 2), "once"),
        (lambda: kept_layers((0, 1), 3), "cannot keep 3 of 2"),
        (lambda: kept_layers((0, 1), 0), "cannot keep 0 of 2"),
    ]:
        with pytest.raises(UserError, match=match):
            bad()
