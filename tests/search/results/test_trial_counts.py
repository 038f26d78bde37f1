"""Trials are counted in one way, without the references."""

from __future__ import annotations

from search.results.build_front import build_front
from search.results.trial_counts import trial_counts
from tests.support.example_study import HISTORY, METADATA


def test_states_are_counted_without_references() -> None:
    assert trial_counts(HISTORY) == "3 complete, 1 failed, 1 resting"
    assert trial_counts(build_front("s", METADATA, HISTORY).trials) == trial_counts(HISTORY)
    assert trial_counts(HISTORY[:2]) == "none"
