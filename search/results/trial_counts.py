"""How many trials of a study are in each state. References do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from search.results.front import FrontEntry
from search.study.history import REFERENCES, CandidateState, State

ORDER: tuple[State, ...] = ("complete", "stopped", "infeasible", "failed", "interrupted", "running", "resting")


def trial_counts(trials: Iterable[CandidateState | FrontEntry]) -> str:
    """Returns the counts for people, such as "11 complete, 9 stopped"; "none" without trials."""
    counts = Counter(trial.state for trial in trials if trial.role not in REFERENCES)
    return ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state]) or "none"
