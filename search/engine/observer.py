"""The interface of observers, which follow a running search: MLflow, a logger, a callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.search import Search
from search.study.history import History


class SearchObserver(Protocol):
    """Called in the driver's process and thread. Must return quickly and must not change the search."""

    def on_start(self, search: Search, has_gpus: bool) -> None:
        """Called once the workers are known, before the first leg."""

    def on_change(self, search: Search) -> None:
        """Called whenever a leg started or ended."""

    def on_end(self, history: History, interrupted: bool, remeasured: Mapping[int, RemeasuredLatency]) -> None:
        """Called once, after the last leg. `remeasured` maps trials of the front to latencies that were measured again."""
