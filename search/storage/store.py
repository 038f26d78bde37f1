"""Storage of a study in a folder that every node sees. `S3Store` implements the same methods for S3."""

from __future__ import annotations

from pathlib import Path


class Store:
    """A study in a folder that all nodes see. No file has to be transferred, so all methods do nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raises UserError if the storage cannot be reached now."""

    def pull(self) -> None:
        """Downloads the files of the study except checkpoints. To be called before they are read, and after `push`."""

    def push(self) -> None:
        """Uploads the files that were written into the study's folder since the last call."""

    def push_journal(self) -> None:
        """Uploads the journal."""

    def pull_leg(self, number: int, rung: float) -> None:
        """Downloads a finished leg with its checkpoint. Does nothing if there is none."""

    def push_leg(self, number: int, rung: float) -> None:
        """Uploads a leg that was finished on this node."""

    def sync_ledger(self) -> None:
        """Exchanges measured latencies with the other nodes. To be called under the ledger's lock."""
