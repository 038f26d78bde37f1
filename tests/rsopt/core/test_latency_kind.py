"""A latency that was not measured undisturbed is recognised and marked."""

from __future__ import annotations

import pytest

from rsopt.core.latency_kind import latency_kind, latency_text

INTERVAL = {"latency_ms": 51.42, "latency_low_ms": 49.0, "latency_high_ms": 53.84}


@pytest.mark.parametrize(
    ("marks", "kind", "text"),
    [
        ({}, "measured", "51.4"),
        ({"latency_disturbed": 0.0, "latency_measured": 1.0}, "measured", "51.4"),
        ({"latency_predicted": 1.0, "latency_error_ms": 2.42}, "predicted", "~51.4 (49.0-53.8)"),
        ({"latency_disturbed": 1.0}, "disturbed", "!51.4 (49.0-53.8)"),
    ],
)
def test_the_kind_and_the_mark_of_a_latency(marks: dict[str, float], kind: str, text: str) -> None:
    assert latency_kind(INTERVAL | marks) == kind
    assert latency_text(INTERVAL | marks) == text


def test_without_a_latency_or_an_interval() -> None:
    assert latency_kind({"cider": 3.0}) is None
    assert latency_text({"latency_ms": 43.4, "latency_disturbed": 1.0}) == "!43.4"
