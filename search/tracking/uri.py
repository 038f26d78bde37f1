"""The tracking URI: where MLflow's runs go by default, and whether that place can be used. MLflow is not imported."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from rsopt.errors import UserError
from search.storage.location import is_remote

SQLITE = "sqlite:///"


def tracking_uri(option: str | None, storage: str) -> str:
    """Returns the option, else $MLFLOW_TRACKING_URI, else mlflow.db next to the studies' folder.

    For studies on S3 the database is in the working directory. `mlflow server` finds it in either place.
    """
    folder = Path.cwd() if is_remote(storage) else Path(storage).parent
    return option or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{folder / 'mlflow.db'}"


def database_file(uri: str) -> Path | None:
    """Returns the file of a sqlite URI; None for a server's."""
    return Path(uri.removeprefix(SQLITE)).expanduser().absolute() if uri.startswith(SQLITE) else None


def database_is_here(uri: str) -> bool:
    """Whether the folder of a database file exists. True for every server, which no machine owns."""
    database = database_file(uri)
    return database is None or database.parent.is_dir()


def check_uri(uri: str) -> None:
    """Raises UserError when the URI is of an unknown kind, its folder does not exist or its server does not answer."""
    if (database := database_file(uri)) is not None:
        if not database.parent.is_dir():
            raise UserError(f"tracking URI '{uri}': there is no folder {database.parent}")
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
    """Returns a folder next to a database file, since MLflow's default is the working directory; None for a server."""
    database = database_file(uri)
    return None if database is None else (database.parent / "mlruns" / experiment).as_uri()
