"""The registry on a real MLflow store: a pick is a pyfunc that captions files, stored as code and files, found by its alias."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from rsopt.cli import command
from rsopt.data.read import read
from rsopt.model.export_manifest import ExportManifest
from search.export import main
from search.study.journal import read_history
from search.study.settings import Settings, load_study, save_study
from search.tracking.mlflow_writer import Tracker
from search.tracking.study_runs import study_view
from tests.support.example_study import ENDED_MS, times_of


def test_a_registered_pick_captions_files_and_bytes(
    small_study: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow puts artifacts below the working directory
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings, metadata = load_study(small_study.folder)
    save_study(replace(settings, tracking_uri=uri), metadata)
    argv = ["--name", settings.name, "--storage", settings.storage, "--register", "--out"]
    assert command(main, [*argv, str(tmp_path / "early")]) == 2
    assert "has no run of trial" in capsys.readouterr().err, "MLflow does not know the study yet"
    history = read_history(settings.folder)
    view = study_view(settings, metadata, history, times_of(history), "complete", ENDED_MS)
    Tracker(uri, settings.mlflow_experiment, settings.name).write(view)
    assert command(main, [*argv, str(tmp_path / "knee")]) == 0
    save_study(settings, metadata)
    assert "models:/rsopt-fields-1@knee" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.pkl"))

    captions = ExportManifest.read(tmp_path / "knee").captions
    paths = {s.image_id: str(s.path) for s in read(metadata.data_path).split("val")}
    images = [paths[i] for i in captions]
    images[1] = base64.b64encode(Path(images[1]).read_bytes()).decode()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model("models:/rsopt-fields-1@knee")
        predictions = model.predict(pd.DataFrame({"image": images}))
    finally:
        mlflow.set_tracking_uri(before)
    assert predictions["caption"].tolist() == list(captions.values())
