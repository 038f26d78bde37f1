"""What may follow a search while it runs: MLflow, a logger, a callback of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.search import Search
from search.study.history import History


class SearchObserver(Protocol):
    """Hears of a search in the driver's process and thread. It must return quickly and must not change the search."""

    def on_start(self, search: Search, has_gpus: bool) -> None:
        """Called once the workers are known, before the first leg."""

    def on_change(self, search: Search) -> None:
        """Called whenever a leg started or ended."""

    def on_end(self, history: History, interrupted: bool, remeasured: Mapping[int, RemeasuredLatency]) -> None:
        """Called once, after the last leg. `remeasured` holds the front's latencies that were measured again, by trial."""
