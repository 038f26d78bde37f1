"""Letters say exactly which trials cannot be told apart, although that is not transitive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search.results.ties import letter_groups


@st.composite
def ties(draw: st.DrawFn) -> dict[int, list[int]]:
    """Any symmetric relation between up to twelve trials."""
    numbers = list(range(draw(st.integers(1, 12))))
    pairs = draw(st.sets(st.tuples(st.sampled_from(numbers), st.sampled_from(numbers))))
    return {a: [b for b in numbers if a != b and ((a, b) in pairs or (b, a) in pairs)] for a in numbers}


@given(ties())
def test_two_trials_share_a_letter_exactly_if_they_are_tied(same: dict[int, list[int]]) -> None:
    groups = letter_groups(same)
    for one in same:
        assert groups[one], "every trial is in a group"
        for other in same:
            if one != other:
                assert bool(set(groups[one]) & set(groups[other])) == (other in same[one])


def test_a_chain_reads_without_contradiction() -> None:
    assert letter_groups({1: [2], 2: [1, 16], 16: [2]}) == {1: ("a",), 2: ("a", "b"), 16: ("b",)}
    assert letter_groups({5: [], 3: []}) == {5: ("a",), 3: ("b",)}
    many = letter_groups({n: [] for n in range(28)})
    assert many[25] == ("z",) and many[26] == ("aa",) and many[27] == ("ab",)
