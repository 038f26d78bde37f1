"""The tracker on a real MLflow store: a projection that can be written twice, by two trackers, and comes out the same."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from rsopt.errors import UserError
from search.settings import Settings
from search.tracker import BackgroundTracker, Tracker, check_uri
from search.view import study_view
from tests.search.test_front import FACTS, HISTORY, NAMES

NOW_MS = FACTS.started_ms + 100_000


def settings(tmp_path: Path) -> Settings:
    return Settings(
        name="s-1",
        space="pruning",
        base="tiny",
        data=None,
        trials=5,
        sampler="tpe",
        seed=0,
        gpus_per_trial=1,
        workers=None,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        storage=str(tmp_path),
        latency_ledger=None,
        skip_bad=False,
    )


def test_written_twice_by_two_trackers_is_written_once(tmp_path: Path) -> None:
    asked = settings(tmp_path)
    views = [
        study_view(asked, FACTS, HISTORY[:3], NOW_MS, "running"),
        study_view(asked, FACTS, HISTORY, NOW_MS, "complete"),
    ]
    for view in (*views, views[-1]):
        Tracker(asked.tracking_uri, "rsopt-pruning", asked.name).write(view)
    client = MlflowClient(asked.tracking_uri)
    experiment = client.get_experiment_by_name("rsopt-pruning")
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = {r.data.tags["rsopt.trial"]: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    assert len(parents) == 1 and len(children) == len(HISTORY)
    assert {r.data.tags["mlflow.parentRunId"] for r in children.values()} == {parents[0].info.run_id}
    assert {n for n, r in children.items() if r.data.tags["pareto"] == "true"} == {"1", "2", "4"}
    for number in ("0", "1", "2", "3", "4"):
        assert set(NAMES) <= set(children[number].data.metrics)
        assert children[number].info.status == "FINISHED"
    assert "cider" not in children["5"].data.metrics, "a rung's CIDEr passed for a final one"
    assert children["6"].data.tags["reason"] == "nan: training loss is nan"
    assert len(client.get_metric_history(children["2"].info.run_id, "cider")) == 1
    assert parents[0].data.metrics["floor.class_prior"] == 42.5
    assert parents[0].data.metrics["skipped.missing_image"] == 3
    assert [a.path for a in client.list_artifacts(parents[0].info.run_id)] == ["front.json"]


def test_the_background_tracker_ends_with_the_newest_view(tmp_path: Path) -> None:
    asked = settings(tmp_path)
    tracker = BackgroundTracker(asked.tracking_uri, "rsopt-pruning", asked.name)
    for n in range(1, len(HISTORY) + 1):
        tracker.put(study_view(asked, FACTS, HISTORY[:n], NOW_MS, "running" if n < len(HISTORY) else "complete"))
    tracker.close()
    assert tracker.problem is None
    client = MlflowClient(asked.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("rsopt-pruning").experiment_id])
    assert len(runs) == len(HISTORY) + 1


def test_a_server_that_is_away_costs_a_problem_and_no_exception(tmp_path: Path) -> None:
    asked = replace(settings(tmp_path), tracking_uri="http://127.0.0.1:9")
    tracker = BackgroundTracker(asked.tracking_uri, "rsopt-pruning", asked.name)
    tracker.put(study_view(asked, FACTS, HISTORY, NOW_MS, "complete"))
    tracker.close(timeout=60)
    assert tracker.problem and "MLflow" in tracker.problem


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://127.0.0.1:9", "does not answer"),
        ("ftp://x", "allowed are"),
        ("sqlite:////no/such/folder/mlflow.db", "no folder"),
    ],
)
def test_a_tracking_uri_that_answers_nothing_is_one_line(uri: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        check_uri(uri)
    assert "\n" not in str(error.value)


def test_a_database_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    script = f"import search.tracker as t; t.make_database({uri!r})"
    killed = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    while not list(tmp_path.glob(".mlflow.db.*")) and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "mlflow.db").exists()
    Tracker(uri, "rsopt-pruning", "s")
    assert MlflowClient(uri).get_experiment_by_name("rsopt-pruning") is not None
