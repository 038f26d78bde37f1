"""The driver runs one search from start to end: Ray runs its legs, the search decides, observers and the screen follow."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray

from rsopt.common.atomic_files import write_json
from rsopt.core.ranking import MeasuredRankings
from rsopt.errors import InfrastructureError, UserError
from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.observer import SearchObserver
from search.engine.search import Search
from search.execution.checkpoint_retention import CheckpointRetention
from search.execution.progress import Progress, status_line
from search.execution.ray_runtime import ray_session
from search.execution.ray_searcher import FinalTask
from search.execution.remeasurement import Remeasurement
from search.execution.resources import Resources
from search.execution.signals import InterruptHandler
from search.execution.tune_loop import Tick, fit
from search.execution.work import WorkerSpec
from search.execution.worker import rank_layers, run_trial
from search.results.below_baselines import full_depth_warnings
from search.storage.layout import RANKINGS_FILE
from search.storage.store import Store
from search.study.history import History
from search.study.settings import Settings, StudyMetadata


@dataclass(slots=True)
class Outcome:
    """How a session of the driver ended."""

    history: History
    interrupted: bool
    seconds: float
    remeasured: dict[int, RemeasuredLatency] = field(default_factory=dict)  # latencies of the front measured again, by trial
    stopped: str | None = None  # why the session ended early: every leg failed, or the disk refused a write


class Driver:
    """Runs the search of one study."""

    def __init__(
        self,
        settings: Settings,
        metadata: StudyMetadata,
        address: str | None,
        store: Store,
        worker_gb: float,
        checkpoint_bytes: int,
        observers: Sequence[SearchObserver] = (),
    ) -> None:
        """Prepare a session.

        Args:
            settings: Settings of the study.
            metadata: Metadata of the study.
            address: Ray cluster to join; None starts a local Ray.
            store: Place where the study is kept.
            worker_gb: Memory of a worker on a CPU, GB.
            checkpoint_bytes: Size of the largest checkpoint.
            observers: Called when the search starts, changes and ends.
        """
        self.settings, self.metadata, self.address, self.store = settings, metadata, address, store
        self.worker_gb, self.checkpoint_bytes = worker_gb, checkpoint_bytes
        self.observers = observers
        self.interrupted = False
        self.stop: InterruptHandler

    def run(self, make_search: Any) -> Outcome:
        """Run legs until the study is done or the user stops it. Finished legs are kept either way.

        `make_search` makes the search from Ray's resources and the measured rankings, if the study needs these.
        """
        begin = time.monotonic()
        share, workers = self.settings.gpus_per_trial, self.settings.workers
        with ray_session(self.address, share, workers, self.worker_gb) as (resources, self.stop):
            rankings = self._rankings(resources) if self.metadata.needs_rankings else None
            search = make_search(resources, rankings)
            for observer in self.observers:
                observer.on_start(search, resources.gpus > 0)
            progress = Progress(search, self.settings)
            progress.begin(resources.slots, "GPU" if resources.gpus else "CPU core")

            headroom = resources.slots * self.checkpoint_bytes
            retention = CheckpointRetention(self.settings.folder, self.settings.disk_bytes, headroom)

            untold = _full_depth_cider(search.history) is None

            def changed() -> None:
                nonlocal untold
                retention.enforce(search)
                if untold and (cider := _full_depth_cider(search.history)) is not None:
                    untold = False
                    for line in full_depth_warnings(cider, self.metadata.baselines):
                        progress.print(f"warning: {line}")
                for observer in self.observers:
                    observer.on_change(search)
                progress.update()

            remeasurement = Remeasurement(search, progress.say)
            stopped: str | None = None
            try:
                stopped = self._fit(search, resources, changed, progress, remeasurement)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                progress.end()
        remeasured = remeasurement.latencies
        history = search.snapshot(live=False)
        search.close()
        for observer in self.observers:
            observer.on_end(history, self.interrupted or stopped is not None, remeasured)
        return Outcome(history, self.interrupted, time.monotonic() - begin, remeasured, stopped)

    def _rankings(self, resources: Resources) -> MeasuredRankings:
        """The study's measured rankings, scored now by a worker where there are none yet."""
        path = self.settings.folder / RANKINGS_FILE
        if not path.exists():
            task = ray.remote(rank_layers).options(num_cpus=resources.cpus, num_gpus=resources.gpus, num_returns="streaming")
            with status_line("scoring layers on calibration captions") as say:
                try:
                    for item in map(ray.get, task.remote(WorkerSpec.of(self.settings, self.metadata))):
                        if isinstance(item, dict):
                            write_json(path, item)
                        else:
                            say(f"scoring layers on calibration captions: {item[0]} {item[1]}/{item[2]}")
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, UserError | InfrastructureError | OSError):
                        raise error.cause from error  # the worker's own message, in one line
                    raise
            self.store.push()
        return MeasuredRankings.from_json(json.loads(path.read_text()))

    def _fit(
        self, search: Search, resources: Resources, changed: Any, progress: Progress, final_task: FinalTask | None = None
    ) -> str | None:
        """Run legs until there are no more. Returns the reason if it stopped early.

        Args:
            search: Source of the legs.
            resources: Resources of a leg.
            changed: Called after every change of the search.
            progress: Progress line to redraw.
            final_task: Trial that follows the last leg.
        """
        trainable = partial(run_trial, work=WorkerSpec.of(self.settings, self.metadata, search.teacher))
        folder, tick = self.settings.folder / "ray", Tick(progress.tick, self.stop)
        return fit(search, trainable, resources, folder, changed, tick, final_task)


def _full_depth_cider(history: History) -> float | None:
    """CIDEr x100 of the tuned full depth; None while it is not trained to the end."""
    return next((c.final.metrics.get("cider") for c in history if c.role == "full_depth" and c.final), None)
