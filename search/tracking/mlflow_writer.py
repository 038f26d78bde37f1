"""Writes a study's runs to MLflow. They can be deleted and written again; the study reads nothing back."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient

from rsopt.common.atomic_files import creating
from search.tracking.runs import DataView, RunView, StudyView
from search.tracking.uri import SQLITE, artifact_root, database_file

STUDY_TAG, TRIAL_TAG, PARENT_TAG = "rsopt.study", "rsopt.trial", "mlflow.parentRunId"
RETRY_S = 10.0  # after a failure, when nothing new is to be written
_LOG = logging.getLogger(__name__)


class Tracker:
    """Writes views to MLflow. It finds its runs by tags, so writing twice changes nothing."""

    def __init__(self, uri: str, experiment: str, study: str) -> None:
        make_database(uri)
        self.client = MlflowClient(tracking_uri=uri)
        self.study = study
        existing = self.client.get_experiment_by_name(experiment)
        if existing is None:
            self.experiment_id = self.client.create_experiment(experiment, artifact_root(uri, experiment))
        else:
            self.experiment_id = existing.experiment_id
        self.run_ids: dict[str, str] = {}
        self._started: dict[str, int] = {}  # of a run, as MLflow has it: it cannot be changed there
        self._status: dict[str, str] = {}
        self._latest: dict[str, dict[str, float]] = {}  # values that MLflow shows of a run
        self._times: dict[tuple[str, str], int] = {}  # when a single value was written, by run and name
        runs = self.client.search_runs([self.experiment_id], f"tags.`{STUDY_TAG}` = '{study}'", max_results=50_000)
        for run in runs:
            key = run.data.tags[TRIAL_TAG]
            self.run_ids[key], self._started[key], self._status[key] = run.info.run_id, run.info.start_time, run.info.status
            self._latest[key] = dict(run.data.metrics)
        self._written: dict[str, tuple[set[Any], bool]] = {}

    @property
    def parent_id(self) -> str | None:
        """The parent's run id; None before it was written."""
        return self.run_ids.get("parent")

    def write(self, view: StudyView) -> None:
        """Makes MLflow show this view. Sends only what changed since the last call."""
        self._write_run(view.parent, {})
        for child in view.children:
            self._write_run(child, {PARENT_TAG: self.run_ids["parent"]})
        for name, value in view.experiment_tags.items():
            self.client.set_experiment_tag(self.experiment_id, name, value)
        for name, text in view.files.items():
            self.client.log_text(self.run_ids["parent"], text, name)
        if tables := [{"path": name, "type": "table"} for name in view.files if name.endswith(".table.json")]:
            self.client.set_tag(self.run_ids["parent"], "mlflow.loggedArtifacts", json.dumps(tables))
        if view.data is not None:
            inputs = [_input(view.data)]
            for run in (view.parent, *view.children):
                self.client.log_inputs(self.run_ids[run.key], inputs)

    def _write_run(self, view: RunView, extra: Mapping[str, str]) -> None:
        tags = {**view.tags, STUDY_TAG: self.study, TRIAL_TAG: view.key, **extra}
        if view.key not in self.run_ids:
            run = self.client.create_run(self.experiment_id, start_time=view.started_ms, tags=tags, run_name=view.name)
            self.run_ids[view.key], self._started[view.key] = run.info.run_id, view.started_ms
        run_id = self.run_ids[view.key]
        written, closed = self._written.get(view.key, (set(), False))
        metrics = [m for m in view.metrics if m not in written]
        params = [p for p in view.params.items() if p not in written]
        changed = [t for t in tags.items() if t not in written]
        timed = [Metric(n, v, at, s) for n, v, s in metrics if (at := self._time_of(view.key, n, v, s)) is not None]
        for at in range(0, max(len(timed), 1), 900):
            self.client.log_batch(
                run_id,
                metrics=timed[at : at + 900],
                params=[Param(k, v[:6000]) for k, v in params[at : at + 90]],
                tags=[RunTag(k, v[:5000]) for k, v in changed[at : at + 90]],
            )
        for metric in timed:  # now that they are written, and not before: what fails is tried again
            if metric.step == 0:
                self._latest.setdefault(view.key, {})[metric.key] = metric.value
                self._times[view.key, metric.key] = metric.timestamp
        for name, path in view.files.items():
            folder, _, _ = name.rpartition("/")
            self.client.log_artifact(run_id, str(path), folder or None)
        if view.ended_ms is not None and not closed:
            self.client.set_terminated(run_id, status=view.status, end_time=view.ended_ms)
            closed = True
        elif view.ended_ms is None and self._status.pop(view.key, "RUNNING") != "RUNNING":  # a resumed study's
            self.client.update_run(run_id, status="RUNNING")
        self._written[view.key] = ({*view.metrics, *view.params.items(), *tags.items()}, closed)

    def _time_of(self, key: str, name: str, value: float, step: int) -> int | None:
        """Returns the time at which a metric of a run is written; None where MLflow shows this value of a single step already.

        It is the run's start plus the step, so that writing it again adds no second point. A single value that has changed, such
        as a latency that was measured again, comes a millisecond later: of equal times MLflow shows the larger value.
        """
        time_ms = self._started[key] + step
        if step > 0:
            return time_ms
        before = self._latest.get(key, {}).get(name)
        if before is None or before == value:
            return time_ms if before is None else None
        known = self._times.get((key, name))
        if known is None:
            known = max(m.timestamp for m in self.client.get_metric_history(self.run_ids[key], name))
        return known + 1


def make_database(uri: str) -> None:
    """Creates the database of a sqlite URI, whole or not at all.

    MLflow builds its tables in hundreds of steps. If it is killed or the disk is full in the middle, the file that is left
    cannot be opened again.
    """
    path = database_file(uri)
    if path is not None and not path.exists():
        with creating(path) as aside:
            MlflowClient(tracking_uri=f"{SQLITE}{aside}").search_experiments(max_results=1)


def _input(data: DataView) -> DatasetInput:
    dataset = Dataset(data.name, data.digest, "local", json.dumps({"uri": data.source}), None, json.dumps(data.profile))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "search")])


class BackgroundTracker:
    """Writes the newest view in a thread, so that the search never waits for MLflow. What fails is tried again.

    `problem` says why the last write failed. `watch` also samples this machine's processors, memory and GPUs into the parent
    run, every ten seconds.
    """

    def __init__(self, uri: str, experiment: str, study: str) -> None:
        self.watch = False
        self._uri = uri
        self._monitor: SystemMetricsMonitor | None = None
        self._make = lambda: Tracker(uri, experiment, study)
        self._queue: queue.Queue[StudyView | None] = queue.Queue()
        self.problem: str | None = None
        self.tracker: Tracker | None = None
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
        self._thread.start()

    def put(self, view: StudyView) -> None:
        """Queues a view. Older views that were not written yet are skipped."""
        self._queue.put(view)

    def close(self, timeout: float = 60.0) -> None:
        """Writes the last view and stops, after at most `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.problem = f"MLflow did not answer within {timeout:.0f} s"

    def _run(self) -> None:
        view: StudyView | None = None
        closing = False
        while not closing:
            try:
                item = self._queue.get(timeout=RETRY_S if self.problem else None)
            except queue.Empty:
                item = view  # the server may be back
            while True:  # the newest view holds all of the older ones
                if item is None:
                    closing = True
                else:
                    view = item
                if self._queue.empty():
                    break
                item = self._queue.get()
            if view is not None:
                self._write(view, attempts=3 if closing else 1)
            self._sample(closing)

    def _write(self, view: StudyView, attempts: int) -> None:
        for attempt in range(attempts):
            try:
                self.tracker = self.tracker or self._make()
                self.tracker.write(view)
            except Exception as error:  # noqa: BLE001 - whatever MLflow or its database raises, the search goes on
                self.problem = f"MLflow: {str(error).splitlines()[0][:200]}"
                _LOG.debug("tracker", exc_info=True)
                time.sleep(attempt)
            else:
                self.problem = None
                return

    def _sample(self, closing: bool) -> None:
        """Starts MLflow's own sampler once the parent run exists, and stops it at the end."""
        parent = self.tracker.parent_id if self.tracker else None
        if self.watch and not closing and self._monitor is None and parent is not None:
            self._monitor = SystemMetricsMonitor(parent, tracking_uri=self._uri, resume_logging=True)
            self._monitor.start()
        elif closing and self._monitor is not None:
            self._monitor.finish()
