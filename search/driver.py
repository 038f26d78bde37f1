"""The driver: one search from start to end. Ray runs the legs, the study decides, MLflow and the screen follow."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# Ray reads these when it is imported. Usage statistics are off; Ctrl-C reaches us as KeyboardInterrupt and not as a normal
# end of fit(); Ray's own output, loggers and metric checks would come between the user and our line.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import psutil
import ray
from ray import tune

from rsopt.common.atomic_files import write_json
from rsopt.core.ranking import MeasuredRankings
from rsopt.errors import InfrastructureError, UserError, refusal
from search.engine.legs import LegSource
from search.engine.search import Search
from search.history import History
from search.keeper import Keeper
from search.progress import Progress, status_line
from search.remeasure import Remeasurement
from search.resources import Resources, plan_resources
from search.searcher import Finale, LegSearcher
from search.settings import RANKINGS_FILE, Facts, Settings
from search.stopping import Stop, restored_signals
from search.store import Store
from search.tracker import BackgroundTracker, StudyView
from search.trainable import Work, rank_layers, run_trial
from search.view import study_view

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


def fit(
    source: LegSource,
    trainable: Callable[[dict[str, Any]], dict[str, str]],
    resources: Resources,
    folder: Path,
    changed: Callable[[], None],
    tick: Tick,
    finale: Finale | None = None,
) -> str | None:
    """Run the legs of `source` as Ray trials until there are no more, then `finale`; why it ended before, if it did."""
    # Where the disk is full it prints a traceback about a file of its own that nothing here reads; we say the rest in one line.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    searcher = LegSearcher(source, changed, finale)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            # Without it Tune prefetches a leg while all workers are busy; nothing is paused, so it cannot stall.
            max_concurrent_trials=resources.slots,
            reuse_actors=True,  # the base stays in the worker
        ),
        # A fresh name: Ray's files hold nothing that a later session reads.
        run_config=tune.RunConfig(name=uuid.uuid4().hex, storage_path=str(folder), verbose=0, callbacks=[tick]),
    )
    try:
        tuner.fit()
    except (OSError, ray.exceptions.RayError, tune.error.TuneError) as error:
        # Ray writes below the same folder: it may be the first to find that the disk is full.
        cause = error if isinstance(error, OSError) else error.__cause__
        refused = refusal(cause) if isinstance(cause, OSError) else None
        if not (searcher.failure or refused):
            raise
        return str(searcher.failure or refused)
    return str(searcher.failure) if searcher.failure else source.stopped


def run_tasks(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], resources: Resources, stop: Stop
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Call `function` with each of `arguments` on workers, as many at once as there are; (arguments, result) as they come.

    Raises what a person can put right as the worker said it.
    """
    task = ray.remote(function).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    running = {task.remote(*own): own for own in arguments}
    while running:
        done, _ = ray.wait(list(running), timeout=1.0)
        stop.check()
        for result in done:
            own = running.pop(result)
            try:
                yield own, ray.get(result)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError | InfrastructureError | OSError):
                    raise error.cause from error
                raise


class Tick(tune.Callback):
    """Ray's loop is the progress line's clock."""

    def __init__(self, tick: Callable[[], None], stop: Stop) -> None:
        self.tick, self.stop = tick, stop

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.stop.check()
        self.tick()

    def __getstate__(self) -> dict[str, Any]:  # Ray snapshots its callbacks, and this one holds a terminal
        return {}


def cluster_address(asked: str | None) -> str | None:
    """The option's, else $RAY_ADDRESS as everywhere in Ray; None where a Ray of one's own is started."""
    return asked or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def started_ray(address: str | None) -> Iterator[tuple[float, float, float]]:
    """Start a local Ray, or connect to a cluster; gives CPUs, GPUs and bytes of memory, and shuts down what was started."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # By name: left to itself, Ray would join whatever cluster runs on this machine.
        options |= {"address": "local", "include_dashboard": False, "object_store_memory": 100 * 2**20}
    else:
        options |= {"address": address}
    ray.init(**options)
    try:
        held = ray.cluster_resources()
        memory = held.get("memory", 0.0) if address else psutil.virtual_memory().available
        yield held.get("CPU", 0.0), held.get("GPU", 0.0), memory
    finally:
        ray.shutdown()
