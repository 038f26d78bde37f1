"""Writes a running search to MLflow, in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping

from rsopt.common.clock import now_ms
from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.search import Search
from search.results.build_front import build_front
from search.study.history import History
from search.study.settings import Settings, StudyMetadata
from search.tracking.mlflow_writer import BackgroundTracker
from search.tracking.study_runs import study_view


class TrackingObserver:
    """A SearchObserver. A server that is away never stops the search: `problem` then says why nothing was written."""

    def __init__(self, settings: Settings, metadata: StudyMetadata) -> None:
        self._settings, self._metadata = settings, metadata
        self._search: Search
        self._tracker = BackgroundTracker(settings.tracking_uri, settings.mlflow_experiment, settings.name)

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None where it did not."""
        return self._tracker.problem

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before anything was written."""
        return self._tracker.tracker.experiment_id if self._tracker.tracker else None

    def on_start(self, search: Search, has_gpus: bool) -> None:
        """Samples the machine's processors, memory and GPUs too if legs run on GPUs."""
        self._search = search
        self._tracker.watch = has_gpus

    def on_change(self, search: Search) -> None:
        """Hands the study's present state to the writing thread."""
        self._put(search.history, "running")

    def on_end(self, history: History, interrupted: bool, remeasured: Mapping[int, RemeasuredLatency]) -> None:
        """Writes the last state and waits for it, at most a minute."""
        self._put(history, "interrupted" if interrupted else "complete", now_ms(), remeasured)
        # Nobody waits long for a server that is away, least of all after Ctrl-C: `search.front --sync` writes it later.
        self._tracker.close(5.0 if self.problem else 20.0 if interrupted else 60.0)

    def _put(
        self, history: History, state: str, ended_ms: int | None = None, remeasured: Mapping[int, RemeasuredLatency] | None = None
    ) -> None:
        front = build_front(self._settings.name, self._metadata, history, remeasured)
        times = self._search.times
        self._tracker.put(study_view(self._settings, self._metadata, history, times, state, ended_ms, front))
