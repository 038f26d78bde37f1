"""Where MLflow's runs go when nobody says, and whether that place is on this machine. No MLflow."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from mlflow.tracking import MlflowClient

from rsopt.common.atomic_files import creating
from rsopt.errors import UserError
from search.storage.location import is_remote

SQLITE = "sqlite:///"


def tracking_uri(asked: str | None, storage: str) -> str:
    """The option, else $MLFLOW_TRACKING_URI, else mlflow.db beside the studies' folder, where `mlflow server` looks.

    Of studies on S3 it lies in the working directory.
    """
    beside = Path.cwd() if is_remote(storage) else Path(storage).parent
    return asked or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{beside / 'mlflow.db'}"


def database_is_here(uri: str) -> bool:
    """Whether the folder of a database file exists; true of servers, which may be away but are nobody's."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).expanduser().absolute().parent.is_dir()


def check_uri(uri: str) -> None:
    """Raise UserError when a tracking URI is of an unknown kind or its server answers nothing."""
    if uri.startswith("sqlite:///"):
        parent = Path(uri.removeprefix("sqlite:///")).expanduser().absolute().parent
        if not parent.is_dir():
            raise UserError(f"tracking URI '{uri}': there is no folder {parent}")
        return
    if not uri.startswith(("http://", "https://")):
        raise UserError(f"tracking URI '{uri}': allowed are http://HOST:PORT, https://... and sqlite:///PATH")
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            return
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"tracking URI '{uri}' does not answer ({reason}); start it with: mlflow server") from error


def artifact_root(uri: str, experiment: str) -> str | None:
    """Beside a database file; left to itself, MLflow would put files below whatever folder this process runs in."""
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).expanduser().absolute()
    return (database.parent / "mlruns" / experiment).as_uri()


def make_database(uri: str) -> None:
    """Create the database of a sqlite URI whole or not at all: aside, then given its name.

    MLflow builds its tables in hundreds of steps; one that is killed, or whose disk is full, in the middle leaves a file
    that no MLflow opens again.
    """
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///")).expanduser().absolute()
    if path.exists():
        return
    with creating(path) as aside:
        MlflowClient(tracking_uri=f"sqlite:///{aside}").search_experiments(max_results=1)
