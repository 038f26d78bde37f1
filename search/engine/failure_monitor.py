"""Decides from the outcomes of a session's legs whether failures are a candidate's own or systemic. No I/O."""

from __future__ import annotations

import re

REPEATED = 3  # refusals in a row, or first candidates with the same fault, that stop a study
GIVEN_UP = 2  # candidates in a row given up for lost workers that stop a study


class FailureMonitor:
    """Sets `stop_reason` when going on would only waste the budget.

    - The machine refuses a leg (unreadable base, full disk) three times in a row.
    - Two candidates in a row are given up because their workers died.
    - The first three candidates fail alike and no trained candidate of the study was ever measured.
    """

    def __init__(self, proven: bool) -> None:
        """`proven` says whether the study has measured a trained candidate before."""
        self.stop_reason: str | None = None
        self._proven = proven
        self._refused = 0
        self._given_up = 0
        self._faults: list[str] = []

    def measured(self, trained: bool) -> None:
        """A leg was measured; `trained` is false for the untuned base."""
        self._refused = self._given_up = 0
        self._proven = self._proven or trained

    def lost_leg(self, refused: str | None) -> None:
        """A leg was lost; `refused` is the machine's reason, None if its worker died."""
        self._refused = 0 if refused is None else self._refused + 1
        if self._refused >= REPEATED:
            self.stop_reason = f"{self._refused} legs in a row could not run: {refused}"

    def gave_up(self) -> None:
        """A candidate was given up because its workers died."""
        self._given_up += 1
        if self._given_up >= GIVEN_UP:
            self.stop_reason = f"{self._given_up} candidates in a row lost every worker that tried them"

    def failed(self, reason: str) -> None:
        """A candidate failed by its own fault."""
        self._refused = 0
        self._faults.append(reason)
        different = {re.sub(r"[0-9.]+", "#", fault) for fault in self._faults}
        if not self._proven and len(self._faults) >= REPEATED and len(different) == 1:
            self.stop_reason = f"the first {len(self._faults)} candidates failed alike: {reason}"
