"""The tracker on a real MLflow store: a projection that can be written twice, by two trackers, and comes out the same."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from rsopt.errors import UserError
from search.study.history import History
from search.tracking.mlflow_writer import BackgroundTracker, Tracker
from search.tracking.runs import StudyView
from search.tracking.study_runs import session_end, study_view
from search.tracking.uri import check_uri
from tests.support.example_study import ENDED_MS, HISTORY, METADATA, OBJECTIVE_NAMES, make_settings, times_of


def test_written_twice_by_two_trackers_is_written_once(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    views = [
        study_view(settings, METADATA, HISTORY[:3], times_of(HISTORY[:3]), "running"),
        study_view(settings, METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS),
    ]
    for view in (*views, views[-1]):
        Tracker(settings.tracking_uri, "rsopt-pruning", settings.name).write(view)
    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name("rsopt-pruning")
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = {r.data.tags["rsopt.trial"]: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert len(parents) == 1 and len(children) == len(HISTORY)
    assert {r.data.tags["mlflow.parentRunId"] for r in children.values()} == {parents[0].info.run_id}
    assert {n for n, r in children.items() if r.data.tags["pareto"] == "true"} == {"1", "2", "4"}
    for number in ("0", "1", "2", "3", "4"):
        assert set(OBJECTIVE_NAMES) <= set(children[number].data.metrics)
        assert children[number].info.status == "FINISHED"
    assert "cider" not in children["5"].data.metrics, "a rung's CIDEr passed for a final one"
    assert children["6"].data.tags["reason"] == "nan: training loss is nan"
    assert len(client.get_metric_history(children["2"].info.run_id, "cider")) == 1
    assert parents[0].data.metrics["baseline.blind_class"] == 42.5
    assert parents[0].data.metrics["coverage.blind_class"] == 0.75
    assert parents[0].data.metrics["skipped.missing_image"] == 3
    files = ["front.csv", "front.json", "front.table.json"]
    assert [a.path for a in client.list_artifacts(parents[0].info.run_id)] == files


def test_runs_have_the_times_the_user_and_the_commit_of_the_study(tmp_path: Path) -> None:
    settings, metadata = make_settings(tmp_path), replace(METADATA, user="ada", git_commit="c0ffee")
    stopped = replace(HISTORY[5], state="stopped", reason="not promoted beyond 0.33 of its training")
    final = HISTORY[3].rungs[-1]
    predicted = replace(HISTORY[3], rungs=(replace(final, metrics={**final.metrics, "latency_predicted": 1.0}),))
    history = (*HISTORY[:3], predicted, HISTORY[4], stopped, HISTORY[6], replace(HISTORY[4], number=7, state="interrupted"))
    running = study_view(settings, metadata, history, times_of(history), "running")
    interrupted = study_view(settings, metadata, history, times_of(history), "interrupted", ENDED_MS)
    client = MlflowClient(settings.tracking_uri)

    def write(view: StudyView) -> dict[str, Run]:
        Tracker(settings.tracking_uri, "rsopt-pruning", settings.name).write(view)
        experiment = client.get_experiment_by_name("rsopt-pruning")
        return {run.data.tags["rsopt.trial"]: run for run in client.search_runs([experiment.experiment_id])}

    runs = write(running)
    assert runs["parent"].info.status == "RUNNING" and runs["parent"].info.end_time is None
    runs = write(interrupted)
    status = {key: run.info.status for key, run in runs.items()}
    assert status == {**dict.fromkeys("012345", "FINISHED"), "6": "FAILED", "7": "KILLED", "parent": "KILLED"}
    kinds = {key: run.data.tags["latency_kind"] for key, run in runs.items() if key != "parent"}
    assert kinds == {**dict.fromkeys("01247", "measured"), "3": "predicted", "5": "", "6": ""}
    assert runs["5"].data.tags["state"] == "stopped" and "not promoted" in runs["5"].data.tags["reason"]
    for c, at in zip(history, times_of(history), strict=True):
        info = runs[str(c.number)].info
        assert (info.start_time, info.end_time) == (at.started_ms, at.ended_ms or ENDED_MS)
    assert (runs["parent"].info.start_time, runs["parent"].info.end_time) == (METADATA.started_ms, ENDED_MS)
    for run in runs.values():
        assert run.info.user_id == run.data.tags["mlflow.user"] == "ada"
        assert run.data.tags["mlflow.source.name"] == "python -m search.run"
        assert run.data.tags["mlflow.source.type"] == "LOCAL" and run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert write(running)["parent"].info.status == "RUNNING", "a resumed study runs again"
    assert write(interrupted)["parent"].info.status == "KILLED"


def test_a_latency_that_was_measured_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    client = MlflowClient(settings.tracking_uri)

    def history(latency_ms: float) -> History:
        first = replace(HISTORY[2].rungs[-1], metrics={**HISTORY[2].rungs[-1].metrics, "latency_ms": latency_ms})
        return (*HISTORY[:2], replace(HISTORY[2], rungs=(first,)), *HISTORY[3:])

    tracker = Tracker(settings.tracking_uri, "rsopt-pruning", settings.name)
    for latency_ms in (43.0, 51.0, 39.0):
        tracker.write(study_view(settings, METADATA, history(latency_ms), times_of(HISTORY), "running"))
        run = client.get_run(tracker.run_ids["2"])
        assert run.data.metrics["latency_ms"] == latency_ms
    for latency_ms in (51.0, 38.0, 38.0):
        another = Tracker(settings.tracking_uri, "rsopt-pruning", settings.name)
        another.write(study_view(settings, METADATA, history(latency_ms), times_of(HISTORY), "complete", ENDED_MS))
        run = client.get_run(tracker.run_ids["2"])
        assert run.data.metrics["latency_ms"] == latency_ms
    values = [m.value for m in client.get_metric_history(run.info.run_id, "latency_ms")]
    assert values == [43, 51, 39, 51, 38], "what is unchanged is not written again"


def test_what_is_not_known_of_a_study_is_no_tag(tmp_path: Path) -> None:
    view = study_view(make_settings(tmp_path), METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS)
    assert {t for t in view.parent.tags if t.startswith("mlflow.source")} == {"mlflow.source.name", "mlflow.source.type"}
    assert "mlflow.user" not in view.parent.tags


def test_the_end_of_a_killed_session_is_the_last_that_is_known_of_it() -> None:
    last = max(at.ended_ms or at.started_ms for at in times_of(HISTORY))
    assert session_end(METADATA, times_of(HISTORY)) == last
    assert session_end(replace(METADATA, ended_ms=last - 1), times_of(HISTORY)) == last, "a session after that was killed"
    assert session_end(replace(METADATA, ended_ms=last + 1), times_of(HISTORY)) == last + 1


@pytest.mark.parametrize("repository", [True, False])
def test_the_commit_is_that_of_the_directory_that_the_program_is_called_in(tmp_path: Path, repository: bool) -> None:
    """An installed program belongs to no repository. Its `python -c` stands for it here."""
    commit = None
    if repository:
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "begin"], check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    script = "import json; from search.tracking.run_context import user_and_commit; print(json.dumps(user_and_commit()))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    printed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert json.loads(printed.stdout) == [getpass.getuser(), commit]


def test_the_background_tracker_ends_with_the_newest_view(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    tracker = BackgroundTracker(settings.tracking_uri, "rsopt-pruning", settings.name)
    for n in range(1, len(HISTORY) + 1):
        tracker.put(study_view(settings, METADATA, HISTORY[:n], times_of(HISTORY[:n]), "running"))
    tracker.put(study_view(settings, METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS))
    tracker.close()
    assert tracker.problem is None
    client = MlflowClient(settings.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("rsopt-pruning").experiment_id])
    assert len(runs) == len(HISTORY) + 1


def test_a_server_that_is_away_costs_a_problem_and_no_exception(tmp_path: Path) -> None:
    settings = replace(make_settings(tmp_path), tracking_uri="http://127.0.0.1:9")
    tracker = BackgroundTracker(settings.tracking_uri, "rsopt-pruning", settings.name)
    tracker.put(study_view(settings, METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS))
    tracker.close(timeout=60)
    assert tracker.problem and "MLflow" in tracker.problem


@pytest.mark.parametrize(
    ("uri", "message"),
    [("http://127.0.0.1:9", "does not answer"), ("ftp://x", "allowed are"), ("sqlite:////no/such/folder/mlflow.db", "no folder")],
)
def test_a_tracking_uri_that_answers_nothing_is_one_line(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check_uri(uri)
    assert "\n" not in str(error.value)


def test_the_machine_is_sampled_into_the_parent_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    settings = make_settings(tmp_path)
    tracker = BackgroundTracker(settings.tracking_uri, "rsopt-pruning", settings.name)
    tracker.watch = True
    tracker.put(study_view(settings, METADATA, HISTORY[:3], times_of(HISTORY[:3]), "running"))
    deadline = time.monotonic() + 60
    client, metrics = MlflowClient(settings.tracking_uri), {}
    while time.monotonic() < deadline and not any(name.startswith("system/") for name in metrics):
        time.sleep(0.5)
        if tracker.tracker and tracker.tracker.parent_id:
            metrics = client.get_run(tracker.tracker.parent_id).data.metrics
    tracker.put(study_view(settings, METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS))
    tracker.close()
    assert tracker.problem is None
    assert any(name.startswith("system/cpu") for name in metrics)


def test_a_database_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    script = f"import search.tracking.mlflow_writer as t; t.make_database({uri!r})"
    killed = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    while not list(tmp_path.glob(".mlflow.db.*")) and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "mlflow.db").exists()
    Tracker(uri, "rsopt-pruning", "s")
    assert MlflowClient(uri).get_experiment_by_name("rsopt-pruning") is not None
