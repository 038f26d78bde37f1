"""Which captions count as garbled."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rsopt.data.garbled import TIMES, is_garbled


@pytest.mark.parametrize(
    "text",
    [
        "1" + "." * 164,
        "trees " * 9,
        "a road and trees and trees and trees and trees and trees and trees and trees and trees and trees",
        "there is a port" + "-port" * 40 + "-po",
        "AaAaAaAaAaAaAaAa",
        "a road" + "\t-" * 12,
    ],
)
def test_a_word_or_sign_over_and_over_is_garbled(text: str) -> None:
    assert is_garbled(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many many trees",
        "there is parking parking parking place is empty.",
        "a house ......",
        "it is gray roads, white buildings, gray buildings, black buildings, green trees and lawn, and black gray trains .",
        "the house on the left of the road is near the river and the tree on the right of the road is near the pond by the hill",
        " ".join(f"house {n}" for n in range(100)),  # long, and says something
        "a   road" + " " * 40,
    ],
)
def test_what_people_write_is_not(text: str) -> None:
    assert not is_garbled(text)


@given(st.text("ab. -", max_size=20), st.text("ab. -é", min_size=1, max_size=20).filter(str.strip), st.text("ab. ", max_size=20))
@example("", "a", "")
@example("", "a b ", "")
def test_no_caption_around_it_hides_a_repetition(before: str, unit: str, after: str) -> None:
    assert is_garbled(f"{before} {unit * (TIMES + 1)} {after}")
