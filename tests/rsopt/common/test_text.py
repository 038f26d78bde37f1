"""What is text and what only looks like it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.common.text import printable, shown, text_fault


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("a pond .", None),
        ("", None),
        ("\N{GRINNING FACE}", None),
        (json.loads('"\\ud83d\\ude00"'), None),
        (json.loads('"half \\ud83d"'), "is not Unicode: it holds half of a character, \\ud83d"),
        (None, "is null"),
        (True, "is true, not text"),
        (3, "is a number, not text"),
        (float("nan"), "is a number, not text"),
        (["a pond ."], "is a list, not text"),
        ({"raw": "a pond ."}, "is an object, not text"),
        (b"a pond", "is bytes, not text"),
    ],
)
def test_faults(value: object, fault: str | None) -> None:
    assert text_fault(value) == fault


@given(st.text(st.sampled_from("a\ud83d\ude00") | st.characters(exclude_categories=())))
def test_what_is_printable_is_unicode_and_the_same_where_it_was(text: str) -> None:
    shown = printable(text)
    assert text_fault(shown) is None
    assert (shown == text) == (text_fault(text) is None)


def test_long_names_are_cut_in_messages() -> None:
    assert shown("pond_1.jpg") == "pond_1.jpg"
    assert shown("x" * 5000) == "x" * 160 + "..."
