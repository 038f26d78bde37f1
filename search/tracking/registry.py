"""Registers an exported folder in MLflow as a pyfunc model, logged to its trial's run. No pickle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from rsopt.errors import UserError
from rsopt.model.export_manifest import ExportManifest
from search.study.settings import Settings
from search.tracking.mlflow_writer import Tracker
from search.tracking.uri import check_uri

CODE = Path(__file__).with_name("pyfunc.py")
NEEDS = ("torch", "transformers", "safetensors", "pillow", "pandas")


def register(settings: Settings, number: int, folder: Path, alias: str) -> Any:
    """Logs the folder to the run of trial `number`, registers it as `rsopt-<study>` and returns MLflow's model version.

    `alias` is set on the version. Raises UserError when the tracking server does not answer or does not know the study.
    """
    check_uri(settings.tracking_uri)
    manifest = ExportManifest.read(folder)
    before = mlflow.get_tracking_uri()
    try:
        tracker = Tracker(settings.tracking_uri, settings.mlflow_experiment, settings.name)
        if (run_id := tracker.run_ids.get(str(number))) is None:
            raise UserError(f"MLflow at {settings.tracking_uri} has no run of trial {number} of '{settings.name}'")
        mlflow.set_tracking_uri(settings.tracking_uri)
        with mlflow.start_run(run_id=run_id):
            info = mlflow.pyfunc.log_model(
                name="captioner",
                python_model=str(CODE),
                artifacts={"folder": str(folder)},
                signature=_signature(),
                pip_requirements=[f"{name}{_pinned(name)}" for name in NEEDS],
                metadata={key: getattr(manifest, key) for key in ("study", "trial", "name", "params", "dtype")},
            )
        name = model_name(settings.name)
        version = mlflow.register_model(info.model_uri, name, await_registration_for=60)
        client = tracker.client
        client.set_registered_model_alias(name, re.sub(r"[^A-Za-z0-9_-]", "_", alias), version.version)
        client.update_model_version(name, version.version, (folder / "README.md").read_text()[:5000])
        return version
    except MlflowException as error:
        raise UserError(f"MLflow at {settings.tracking_uri}: {str(error).splitlines()[0][:200]}") from error
    finally:
        mlflow.set_tracking_uri(before)


def model_name(study: str) -> str:
    """Returns the name of a study's model in the registry."""
    return f"rsopt-{study}"


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "image")]), outputs=Schema([ColSpec(DataType.string, "caption")])
    )


def _pinned(name: str) -> str:
    from importlib.metadata import version

    return f"=={version(name).split('+')[0]}"  # without the build: a GPU machine needs its own
