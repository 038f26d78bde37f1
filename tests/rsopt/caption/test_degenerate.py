"""How often a captioner repeats itself, and when it has collapsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.caption.degenerate import COLLAPSED_SHARE, garbage, repetition


def references(images: int, common: int = 0) -> list[list[str]]:
    """Distinct references, each twice, but for `common` images that share one."""
    return [[f"seen {n} .", *["a pond ." if n < common else f"place {n} ."] * 2] for n in range(images)]


def test_one_caption_for_most_images_is_a_collapse_and_no_failure() -> None:
    captions = ["many buildings ."] * 60 + [f"a port with {n} boats ." for n in range(40)]
    found = repetition(captions, references(100))
    assert found == {"distinct_captions": 41.0, "commonest_share": 0.6, "collapsed": 1.0}
    assert garbage(captions, [text for texts in references(100) for text in texts]) is None


def test_a_healthy_captioner_is_not_marked() -> None:
    captions = ["many buildings ."] * 25 + [f"a port with {n} boats ." for n in range(75)]
    assert repetition(captions, references(100)) == {"distinct_captions": 76.0, "commonest_share": 0.25}


def test_data_with_few_distinct_captions_does_not_count_against_a_model() -> None:
    captions = ["a pond ."] * 40 + ["a port ."] * 60
    assert "collapsed" not in repetition(captions, references(100, common=30))
    assert "collapsed" in repetition(captions, references(100, common=29))
    assert "collapsed" not in repetition(["a pond ."] * 19, references(19)), "too few images say nothing"


@given(st.lists(st.sampled_from("abcdefghij"), min_size=20, max_size=200))
def test_shares(captions: list[str]) -> None:
    found = repetition(captions, references(len(captions)))
    assert 1 <= found["distinct_captions"] <= 10 and found["commonest_share"] * found["distinct_captions"] >= 1 - 1e-9
    assert ("collapsed" in found) == (found["commonest_share"] > max(COLLAPSED_SHARE, 2 / len(captions)))
    assert found["commonest_share"] == pytest.approx(max(map(captions.count, set(captions))) / len(captions))
