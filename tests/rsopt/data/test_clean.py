"""Cleaning: stated rules, each counted, and nothing is changed twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.data.clean import RULES, clean, clean_captions


@pytest.mark.parametrize(
    ("text", "cleaned", "rules"),
    [
        ("many trees are near a pond .", "many trees are near a pond .", []),
        ("many  trees\tare\nhere . ", "many trees are here .", ["spaces"]),
        ("a pond.", "a pond .", ["glued_period"]),
        ("A Pond.", "a pond .", ["glued_period", "case"]),
        ("a pond...", "a pond...", []),
        ("a pond", "a pond", []),
        (" . ", "", ["empty"]),
        ("", "", ["empty"]),
        ("ÜBER  ein Café.", "über ein café .", ["spaces", "glued_period", "case"]),
    ],
)
def test_rules(text: str, cleaned: str, rules: list[str]) -> None:
    assert clean(text) == (cleaned, rules)


@given(st.text())
def test_clean_is_idempotent(text: str) -> None:
    once, rules = clean(text)
    assert set(rules) <= set(RULES)
    if once:
        assert clean(once) == (once, [])
        assert once == " ".join(once.split()) and bool(rules) == (once != text)


@given(st.lists(st.sampled_from(["a pond .", "A pond.", "a  road .", "", "."]), max_size=8))
def test_nothing_is_lost_and_all_is_counted(texts: list[str]) -> None:
    changes: Counter[str] = Counter()
    captions = clean_captions(texts, changes)
    assert sum(c.count for c in captions) + changes["empty"] == len(texts)
    assert len({c.text for c in captions}) == len(captions)
    assert changes["repeats"] == sum(c.count - 1 for c in captions)
    assert changes["case"] == texts.count("A pond.") and changes["spaces"] == texts.count("a  road .")
