"""Studies that were made with version 0.1.0 (commit a91b8e3) read, resume, export and refit as they did then.

tests/fixtures/studies holds the default search, a search with refits and free points, and one that was interrupted after a
training and before its measurement; beside each stands what `search.front --json` printed then. Checkpoints that nothing here
needs, and the optimiser's moments of finished candidates, were left out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.chaos.command import running, until

REPOSITORY = Path(__file__).parents[2]
STUDIES = REPOSITORY / "tests" / "fixtures" / "studies"
NAMES = ("default", "small", "interrupted")


def unpack(name: str, folder: Path) -> None:
    with tarfile.open(STUDIES / f"{name}.tar.xz") as archive:
        archive.extractall(folder / "runs", filter="data")


def succeed(folder: Path, module: str, *options: str) -> str:
    """Standard output of a command that must succeed, run in the user's folder."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_front_is_byte_for_byte_what_it_was(name: str, tmp_path: Path) -> None:
    unpack(name, tmp_path)
    printed = succeed(tmp_path, "search.front", "--name", name, "--json")
    assert printed == (STUDIES / f"{name}.front.json").read_text()


def test_a_pick_is_exported(tmp_path: Path) -> None:
    unpack("default", tmp_path)
    succeed(tmp_path, "search.export", "--name", "default", "--pick", "knee", "--out", "knee")
    manifest = json.loads((tmp_path / "knee" / "manifest.json").read_text())
    assert manifest["trial"] == 9 and manifest["refit"] is None
    recorded = json.loads((STUDIES / "default.front.json").read_text())["trials"][9]["objectives"]
    assert manifest["validation"]["cider"] == recorded["cider"]
    assert manifest["check"] == {"images": 32, "same_as_study": 32}


def test_refits_are_not_trained_again_and_are_exported(tmp_path: Path) -> None:
    unpack("small", tmp_path)
    summary = (tmp_path / "runs" / "small" / "refits" / "refits.json").read_text()
    succeed(tmp_path, "search.refit", "--name", "small", "--pick", "knee", "--seeds", "2", "--epochs", "1")
    again = json.loads((tmp_path / "runs" / "small" / "refits" / "refits.json").read_text())
    assert again.pop("baselines").keys() == {"blind_class", "blind", "nearest_image", "people"}
    assert again == json.loads(summary)  # an earlier version had no baselines there
    succeed(tmp_path, "search.export", "--name", "small", "--pick", "knee", "--out", "knee")
    assert json.loads((tmp_path / "knee" / "manifest.json").read_text())["refit"] is not None


def test_an_interrupted_study_goes_on_from_the_training_that_was_kept(tmp_path: Path) -> None:
    unpack("interrupted", tmp_path)
    candidate = tmp_path / "runs" / "interrupted" / "candidates" / "0001"
    trained = json.loads((candidate / ".trained-0.5000" / "training.json").read_text())
    with running(tmp_path, "--resume", "--name", "interrupted", "--workers", "1") as run:
        until((candidate / "rung-0.5000").exists, run)
        run.process.send_signal(signal.SIGINT)  # the rest would be an ordinary search
        assert run.process.wait(60) == 130
    measured = json.loads((candidate / "rung-0.5000" / "measurement.json").read_text())
    assert measured["seconds"]["train"] == pytest.approx(trained["seconds"]["train"], abs=1e-4)
    front = json.loads((tmp_path / "runs" / "interrupted" / "front.json").read_text())
    assert [t["state"] for t in front["trials"]] == ["complete", "interrupted"]
