"""Where MLflow's runs go when nobody says, and whether that place is on this machine. No MLflow."""

from __future__ import annotations

import os
from pathlib import Path

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
