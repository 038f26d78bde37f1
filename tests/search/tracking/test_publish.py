"""A study that nobody drives is published from its folder alone: front.json, page and MLflow."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from rsopt.cli import command
from search import front
from search.results.build_front import study_front
from search.results.front import Front
from search.storage.layout import FRONT_FILE
from search.study.journal import read_trials
from search.study.settings import Settings


def test_a_study_that_is_projected_anew_is_the_same(small_study: Settings, tmp_path: Path) -> None:
    """MLflow deleted and written from the folder alone, twice: page, table, data, counts, adapters of the front."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    argv = ["--name", small_study.name, "--storage", small_study.storage, "--sync", uri]
    assert command(front.main, argv) == 0
    assert command(front.main, argv) == 0
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("rsopt-fields").experiment_id])
    parent = next(r for r in runs if r.data.tags["role"] == "study")
    assert len(runs) == 5
    assert {r.info.run_name for r in runs} >= {"fields-1", "L8 Q6 untuned", "L8 Q6 r16 both"}
    assert all(len(r.inputs.dataset_inputs) == 1 for r in runs)
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"front.html", "front.csv", "front.table.json"}
    table = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/front.table.json")
    assert len(table["data"]) == sum(r.data.tags.get("pareto") == "true" for r in runs)
    assert parent.data.tags["mlflow.loggedArtifacts"] == '[{"path": "front.table.json", "type": "table"}]'
    for word in ("Objectives", "Baselines", "blind_class ", "How to read it"):
        assert word in parent.data.tags["mlflow.note.content"]
    assert [m.value for m in client.get_metric_history(parent.info.run_id, "trials.complete")] == [1]
    member = next(r for r in runs if "knee" in r.data.tags.get("picks", ""))
    assert {a.path for a in client.list_artifacts(member.info.run_id, "member")} == {
        "member/adapter.safetensors",
        "member/manifest.json",
    }
    curve = client.get_metric_history(member.info.run_id, "rung.cider")
    assert [m.step for m in curve] == [50, 100]
    assert member.data.metrics["params_m"] == round(member.data.metrics["params"] / 1e6, 3)
    _same_times_as_the_journal(runs, small_study)
    written = Front.from_json(json.loads((small_study.folder / FRONT_FILE).read_text()))
    assert written == study_front(small_study.folder)


def _same_times_as_the_journal(runs: list[Run], study: Settings) -> None:
    """Each child lasted as long as its trial in the journal, within a second; one that was left unfinished, to the end."""
    by_trial = {run.data.tags["rsopt.trial"]: run.info for run in runs}
    trials, parent = read_trials(study.folder), by_trial.pop("parent")
    assert len(by_trial) == len(trials)
    for trial in trials:
        info = by_trial[str(trial.number)]
        assert trial.datetime_start is not None
        assert abs(info.start_time - 1000 * trial.datetime_start.timestamp()) < 1000
        if trial.duration is None:
            assert (info.status, info.end_time) == ("KILLED", parent.end_time)
        else:
            assert abs((info.end_time - info.start_time) / 1000 - trial.duration.total_seconds()) < 1
    assert parent.end_time == max(info.end_time for info in by_trial.values())
