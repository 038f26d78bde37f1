"""Settings that MLflow reads from the environment when it is imported. This module does not import it."""

from __future__ import annotations

import logging
import os
import warnings

DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # by default a call to a server that is away blocks for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def configure() -> None:
    """Makes MLflow quiet and impatient. Commands call this before anything imports MLflow; what the user has set stays."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)  # it logs every table that it creates
    warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")  # such as advice to log an input example
