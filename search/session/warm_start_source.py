"""Reads the study that a warm start learns from: from a folder in the same storage, or from MLflow."""

from __future__ import annotations

import json

from search.optimizer.warm_start import OtherStudy
from search.storage.layout import RANKINGS_FILE
from search.study.journal import read_history
from search.study.settings import Settings, load_study, study_folder
from search.tracking.mlflow_study import MLFLOW, read_mlflow_study


def other_study(settings: Settings) -> OtherStudy | None:
    """The study of --from-study; None without that option. Raises UserError where the study does not exist."""
    if settings.from_study is None:
        return None
    if settings.from_study.startswith(MLFLOW):
        return read_mlflow_study(settings, settings.from_study.removeprefix(MLFLOW))
    folder = study_folder(settings.storage, settings.from_study)
    path = folder / RANKINGS_FILE
    return OtherStudy(*load_study(folder), read_history(folder), json.loads(path.read_text()) if path.exists() else None)
