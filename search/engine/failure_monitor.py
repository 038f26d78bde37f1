"""Streak: is it the candidate that fails, or everything? A session's legs in the order in which they ended. Pure."""

from __future__ import annotations

import re

ALIKE = 3  # ends of this kind in a row that stop a study
GIVEN_UP = 2  # candidates that lost their workers to the last, with nothing measured in between


class FailureMonitor:
    """Watches how legs end. `stop_reason` says why going on would only burn the budget, None while there is no reason to stop.

    - The machine refuses (a base that cannot be read, a full disk): the third time in a row.
    - Workers die: when two candidates in a row were given up for it.
    - Candidates fail alike: the first three, and no trained candidate of the study was ever measured (`proven`).
    """

    def __init__(self, proven: bool) -> None:
        self.stop_reason: str | None = None
        self._proven = proven
        self._refused: list[str] = []
        self._given_up = 0
        self._faults: list[str] = []

    def measured(self, trained: bool) -> None:
        """A leg came back with a measurement; `trained` unless it was that of the untuned base."""
        self._refused.clear()
        self._given_up = 0
        self._proven = self._proven or trained

    def lost_leg(self, refused: str | None) -> None:
        """A leg was lost; `refused` is what the machine said, None where its worker just died."""
        if refused is None:
            self._refused.clear()
            return
        self._refused.append(refused)
        if len(self._refused) >= ALIKE:
            self.stop_reason = f"{len(self._refused)} legs in a row could not run: {refused}"

    def gave_up(self) -> None:
        """A candidate was given up because its workers died."""
        self._given_up += 1
        if self._given_up >= GIVEN_UP:
            self.stop_reason = f"{self._given_up} candidates in a row lost every worker that tried them"

    def failed(self, reason: str) -> None:
        """A candidate failed by its own fault."""
        self._refused.clear()
        self._faults.append(reason)
        alike = {re.sub(r"[0-9.]+", "#", fault) for fault in self._faults}
        if not self._proven and len(self._faults) >= ALIKE and len(alike) == 1:
            self.stop_reason = f"the first {len(self._faults)} candidates failed alike: {reason}"
