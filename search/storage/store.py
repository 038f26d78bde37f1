"""Where a study is kept: in a folder that every node sees, or on S3 with a working copy on every node that needs one."""

from __future__ import annotations

from pathlib import Path


class Store:
    """One study in a folder that all nodes see. Nothing has to be carried anywhere: every method is there for `S3Store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raise UserError where the study's files cannot be reached now."""

    def pull(self) -> None:
        """Bring here what the study's folder holds, checkpoints excepted: before it is looked at, and after `keep`."""

    def push(self) -> None:
        """Keep the files that were written into the study's folder since the last time."""

    def push_journal(self) -> None:
        """Keep the journal as it is now."""

    def pull_leg(self, number: int, rung: float) -> None:
        """Bring a finished leg here, checkpoint and all; nothing where there is none."""

    def push_leg(self, number: int, rung: float) -> None:
        """Keep a leg that was finished here."""

    def sync_ledger(self) -> None:
        """Give other nodes the latencies measured here, and take theirs. To be called under the ledger's lock."""
