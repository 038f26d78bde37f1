"""A baseline's leg: a real process that is killed between training and measurement costs no training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from rsopt.baselines.trainee import BaselineTrainee
from rsopt.baselines.training import Training
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.leg_files import rung_folder, trained_folder
from rsopt.core.objectives import Measurement
from rsopt.core.variant import Variant
from rsopt.data.read import read
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.model.base import load_base
from rsopt.trial.context import TrialContext
from rsopt.trial.run_leg import run_leg
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.worker_context import WorkerContext
from tests.support.other_data import draw_other


def run(worker: WorkerContext, folder: Path) -> Measurement:
    leg = Leg(2, Candidate(Variant.full(worker.base.shape), baseline="puret_xe"), 0, 1, seed=3)
    device_lock = DeviceLock("test", folder / "quiet")
    ledger, stopwatch = Ledger(folder / "latency.jsonl"), Stopwatch(worker.base.device)
    try:
        return run_leg(TrialContext(leg, worker, folder, ledger, device_lock, stopwatch), BaselineTrainee)
    finally:
        device_lock.close()


def make_worker(data: Path) -> WorkerContext:
    return WorkerContext(load_base("tiny", torch.device("cpu")), read(data))


def run_until_captioning(data: Path, folder: Path) -> NoReturn:
    """Run the leg and die by SIGKILL when it captions."""

    def die(*_: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    torch.set_num_threads(1)
    BaselineTrainee.caption = die  # type: ignore[method-assign]
    run(make_worker(data), folder)
    raise AssertionError("not killed")


def test_a_baseline_killed_between_training_and_measurement_is_only_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = draw_other(tmp_path / "fields", images=60), tmp_path / "killed"
    script = f"from {__name__} import *; run_until_captioning(Path({str(data)!r}), Path({str(folder)!r}))"
    process = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    trained = trained_folder(folder, 2, 1)
    assert not rung_folder(folder, 2, 1).exists()
    checkpoint = (trained / "state.safetensors").stat()

    worker = make_worker(data)
    undisturbed = run(worker, tmp_path / "undisturbed")

    def never(*_: Any) -> NoReturn:
        raise AssertionError("trained again")

    monkeypatch.setattr(Training, "run", never)
    measurement = run(worker, folder)
    rung = rung_folder(folder, 2, 1)
    assert (rung / "state.safetensors").stat().st_ino == checkpoint.st_ino
    for name in ("cider", "val_loss", "train_loss", "params"):
        assert measurement.metrics[name] == undisturbed.metrics[name], name
    assert list(measurement.metrics) == list(undisturbed.metrics) and measurement.seconds["train"] > 0
    assert {path.name for path in rung.iterdir()} == {
        path.name for path in rung_folder(tmp_path / "undisturbed", 2, 1).iterdir()
    }
    assert (rung / "model" / "model.safetensors").is_file()
    assert not list(rung.parent.glob(".*")), "nothing is left aside"


def test_a_damaged_training_of_a_baseline_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker, runs, real = make_worker(draw_other(tmp_path / "fields", images=60)), list[float](), Training.run

    def counted(self: Training, start: float, stop: float, *rest: Any) -> Any:
        runs.append(stop)
        return real(self, start, stop, *rest)

    def died(*_: Any) -> NoReturn:
        raise SystemExit("killed while captioning")

    monkeypatch.setattr(Training, "run", counted)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(BaselineTrainee, "caption", died)
        run(worker, tmp_path)
    checkpoint = trained_folder(tmp_path, 2, 1) / "state.safetensors"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:1000])
    run(worker, tmp_path)
    assert runs == [1, 1] and "trained again: " in caplog.text
    assert (rung_folder(tmp_path, 2, 1) / "state.safetensors").read_bytes() == whole
