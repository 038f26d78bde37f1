"""The undisturbed study that disturbed ones are compared with; they use its recorded latencies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.command import prepare, search

TRIALS = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, since files are given to processes in this order."""
    longest = ("chaos_driver", "chaos_workers")
    items.sort(key=lambda item: not any(name in item.nodeid for name in longest))


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A user's folder with the finished study `calm`, which took `seconds`."""

    folder: Path
    seconds: float

    @property
    def study(self) -> Path:
        return self.folder / "runs" / "calm"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def options(self, name: str, trials: int = TRIALS, workers: int = 1) -> list[str]:
        """Options of the same study under another name, with the recorded latencies."""
        ledger = str(self.study / "latency.jsonl")
        options = ["--space", "small.yaml", "--data", "fields", "--trials", str(trials), "--workers", str(workers)]
        return [*options, "--name", name, *(["--latency-ledger", ledger] if name != "calm" else [])]


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Run the undisturbed study once a session."""
    folder, begun = prepare(tmp_path_factory.mktemp("user")), time.monotonic()
    search(folder, *Undisturbed(folder, 0).options("calm"))
    undisturbed = Undisturbed(folder, time.monotonic() - begun)
    print(f"an undisturbed study takes {undisturbed.seconds:.0f} s")
    return undisturbed
