"""The driver: one search from start to end. Ray runs the legs, the study decides, MLflow and the screen follow."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray

from rsopt.common.atomic_files import write_json
from rsopt.core.ranking import MeasuredRankings
from rsopt.errors import InfrastructureError, UserError
from search.engine.search import Search
from search.execution.checkpoint_retention import Keeper
from search.execution.progress import Progress, status_line
from search.execution.ray_runtime import started_ray
from search.execution.ray_searcher import Finale
from search.execution.remeasurement import Remeasurement
from search.execution.resources import Resources, plan_resources
from search.execution.signals import Stop, restored_signals
from search.execution.tune_loop import Tick, fit
from search.execution.work import Work
from search.execution.worker import rank_layers, run_trial
from search.storage.layout import RANKINGS_FILE
from search.storage.store import Store
from search.study.history import History
from search.study.settings import Facts, Settings
from search.tracking.mlflow_writer import BackgroundTracker
from search.tracking.runs import StudyView
from search.tracking.study_runs import study_view

# Ray reads these when it is imported. Usage statistics are off; Ctrl-C reaches us as KeyboardInterrupt and not as a normal
# end of fit(); Ray's own output, loggers and metric checks would come between the user and our line.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """How a driver's session ended."""

    history: History
    interrupted: bool
    tracking_problem: str | None
    parent_run: str | None
    experiment_id: str | None
    seconds: float
    remeasured: dict[int, dict[str, Any]] = field(default_factory=dict)  # latencies of the front, taken again
    stopped: str | None = None  # why the session ended before its budget: whatever ran failed, or the disk refused


class Driver:
    """Drives one study's search. `make_search` gets the resources, which are known only once Ray is up."""

    def __init__(
        self,
        settings: Settings,
        facts: Facts,
        address: str | None,
        store: Store,
        worker_gb: float,
        checkpoint_bytes: int,
    ) -> None:
        self.settings, self.facts, self.address, self.store = settings, facts, address, store
        self.worker_gb, self.checkpoint_bytes = (
            worker_gb,
            checkpoint_bytes,
        )  # of the host; the largest that a leg writes
        self.interrupted = False
        self.stop = Stop()

    def run(self, make_search: Any) -> Outcome:
        """Run legs until the study is done or the user stops it; what finished is kept either way."""
        begin = time.monotonic()
        tracker = BackgroundTracker(self.settings.tracking_uri, self.settings.mlflow_experiment, self.settings.name)
        with restored_signals(), started_ray(self.address) as there:
            self.stop.watch()
            resources = plan_resources(
                *there,
                self.settings.gpus_per_trial,
                self.settings.workers,
                cluster=self.address is not None,
                worker_gb=self.worker_gb,
            )
            tracker.watch = resources.gpus > 0
            rankings = self._rankings(resources) if self.facts.needs_rankings else None
            search = make_search(resources, rankings)
            progress = Progress(search, self.settings)
            progress.begin(resources.slots, "GPU" if resources.gpus else "CPU core")

            headroom = resources.slots * self.checkpoint_bytes
            keeper = Keeper(self.settings.folder, self.settings.disk_bytes, headroom)

            def changed() -> None:
                keeper.tidy(search)
                tracker.put(self._view(search.history, "running"))
                progress.update()

            again = Remeasurement(self.settings, self.facts, search, progress.say)
            stopped: str | None = None
            try:
                stopped = self._fit(search, resources, changed, progress, again)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                progress.end()
        remeasured = again.found
        history = search.snapshot(live=False)
        search.close()
        tracker.put(self._view(history, "interrupted" if self.interrupted or stopped else "complete", remeasured))
        # Nobody waits long for a server that is away, least of all after Ctrl-C: `search.front --sync` writes it later.
        tracker.close(5.0 if tracker.problem else 20.0 if self.interrupted else 60.0)
        made = tracker.tracker
        return Outcome(
            history,
            self.interrupted,
            tracker.problem,
            made.parent_id if made else None,
            made.experiment_id if made else None,
            time.monotonic() - begin,
            remeasured,
            stopped,
        )

    def _view(self, history: History, state: str, remeasured: dict[int, dict[str, Any]] | None = None) -> StudyView:
        return study_view(self.settings, self.facts, history, int(time.time() * 1000), state, remeasured)

    def _rankings(self, resources: Resources) -> MeasuredRankings:
        """The study's measured rankings: those it began with, else scored now by a worker."""
        path = self.settings.folder / RANKINGS_FILE
        if not path.exists():
            task = ray.remote(rank_layers).options(
                num_cpus=resources.cpus, num_gpus=resources.gpus, num_returns="streaming"
            )
            with status_line("scoring layers on calibration captions") as say:
                try:
                    for item in map(ray.get, task.remote(Work.of(self.settings, self.facts))):
                        if isinstance(item, dict):
                            write_json(path, item)
                        else:
                            say(f"scoring layers on calibration captions: {item[0]} {item[1]}/{item[2]}")
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, UserError | InfrastructureError | OSError):
                        raise error.cause from error  # in one line, as the worker said it
                    raise
            self.store.keep()
        return MeasuredRankings.from_json(json.loads(path.read_text()))

    def _fit(
        self, search: Search, resources: Resources, changed: Any, progress: Progress, finale: Finale | None = None
    ) -> str | None:
        """Run legs until there are no more; why it ended before, if it did."""
        trainable = partial(run_trial, work=Work.of(self.settings, self.facts, search.teacher))
        folder, tick = self.settings.folder / "ray", Tick(progress.tick, self.stop)
        return fit(search, trainable, resources, folder, changed, tick, finale)
