"""sync: MLflow brought to what a study holds: after a server was away, moved or lost. The study itself is only read."""

from __future__ import annotations

import time
from pathlib import Path

from mlflow.exceptions import MlflowException

from rsopt.errors import InfrastructureError
from search.journal import read_history
from search.settings import load_study
from search.tracker import Tracker, check_uri
from search.view import study_view


def sync(folder: Path, uri: str | None = None) -> str:
    """Write the study in `folder` to MLflow at `uri` (by default its own) and return a line that says so.

    Runs are found again by their tags, so it may be done at any time and any number of times. Raises UserError where the
    server does not answer, InfrastructureError where it refuses.
    """
    settings, facts = load_study(folder)
    uri = uri or settings.tracking_uri
    check_uri(uri)
    history = read_history(folder)
    whole = all(c.finished for c in history)
    view = study_view(settings, facts, history, int(time.time() * 1000), "complete" if whole else "interrupted")
    try:
        Tracker(uri, f"rsopt-{settings.space}", settings.name).write(view)
    except MlflowException as error:
        raise InfrastructureError(f"MLflow at {uri}: {str(error).splitlines()[0][:300]}") from error
    return f"{len(view.children)} candidates and their parent are in MLflow at {uri}"
