"""Reads another study from MLflow, for a warm start."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from rsopt.core.objectives import Measurement
from rsopt.errors import UserError
from search.optimizer.warm_start import OtherStudy
from search.results.front import Front, FrontEntry
from search.storage.layout import FRONT_FILE, RANKINGS_FILE
from search.study.history import CandidateState
from search.study.settings import Settings, StudyMetadata

MLFLOW = "mlflow:"  # before the name of an experiment in --from-study


def read_mlflow_study(settings: Settings, name: str) -> OtherStudy:
    """Returns the newest finished study of an experiment on this study's tracking server, with each trial's last rung alone.

    Raises:
        UserError: the experiment does not exist, or holds no finished study with a front.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        known = ", ".join(sorted(e.name for e in client.search_experiments() if e.name.startswith("rsopt-"))) or "none"
        raise UserError(f"--from-study: no experiment '{name}' at {settings.tracking_uri}; it has: {known}")
    runs = client.search_runs(
        [experiment.experiment_id], "tags.role = 'study' and tags.state = 'complete'", order_by=["start_time DESC"]
    )
    if not runs:
        raise UserError(f"--from-study: experiment '{name}' at {settings.tracking_uri} holds no study that ended")
    run = runs[0]
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run.info.run_id, FRONT_FILE, folder)
            front = Front.from_json(json.loads(Path(path).read_text()))
            rankings = None
            if RANKINGS_FILE in {item.path for item in client.list_artifacts(run.info.run_id)}:
                path = client.download_artifacts(run.info.run_id, RANKINGS_FILE, folder)
                rankings = json.loads(Path(path).read_text())
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"--from-study: no {FRONT_FILE} of study '{run.info.run_name}' in MLflow ({reason})") from error
    params = run.data.params
    theirs = replace(
        settings,
        name=front.study,
        space=params["space"],
        base=params["base"],
        data=None if params["data"] == "mini" else params["data"],
    )
    objectives = tuple(o.name for o in front.objectives)
    metadata = StudyMetadata(objectives, front.baselines, "", run.info.start_time, False, {})
    return OtherStudy(theirs, metadata, tuple(map(_state, front.trials)), rankings)


def _state(entry: FrontEntry) -> CandidateState:
    """Returns a candidate's state as far as its entry of the front tells."""
    return CandidateState(
        entry.id,
        entry.role,
        entry.state,
        entry.candidate,
        entry.params,
        (Measurement(entry.rung, entry.metrics, {}),) if entry.metrics else (),
        entry.reason,
    )
