"""A baseline's leg: a real process that is killed between training and measurement costs no training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from rsopt.baselines.puret.captioner import PureTCaptioner
from rsopt.baselines.trainee import BaselineTrainee
from rsopt.baselines.training import Training
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.leg_files import rung_folder, trained_folder
from rsopt.core.objectives import Measurement
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.core.variant import Variant
from rsopt.data.read import read
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.latency.protocol import Protocol
from rsopt.model.base import load_base
from rsopt.trial.context import TrialContext
from rsopt.trial.run_leg import run_leg
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.worker_context import WorkerContext
from tests.support.fields_dataset import add_caption, write_fields_dataset

LONG = " ".join(f"a building {n} on a field" for n in range(60))
REPOSITORY = Path(__file__).parents[3]


def make_worker(data: Path) -> WorkerContext:
    return WorkerContext(load_base("tiny", torch.device("cpu")), read(data))


def run(worker: WorkerContext, folder: Path, baseline: str = "puret_xe") -> Measurement:
    leg = Leg(2, Candidate(Variant.full(worker.base.shape), baseline=baseline), 0, 1, seed=3)
    device_lock = DeviceLock("test", folder / "quiet")
    ledger, stopwatch = Ledger(folder / "latency.jsonl"), Stopwatch(worker.base.device)
    try:
        return run_leg(TrialContext(leg, worker, folder, ledger, device_lock, stopwatch), BaselineTrainee)
    finally:
        device_lock.close()


def run_until_captioning(data: Path, folder: Path) -> NoReturn:
    """Run the leg and die by SIGKILL when it captions. Called in a process of its own."""

    def die(*_: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    BaselineTrainee.caption = die  # type: ignore[method-assign]
    run(make_worker(data), folder)
    raise AssertionError("not killed")


@pytest.fixture(scope="module", autouse=True)
def short_latency() -> Iterator[None]:
    """How long anything takes does not matter here."""
    protocol = Protocol(3, warmups=1, least_runs=2, most_runs=2, repeats=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Protocol, "for_device", lambda *_: protocol)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fields_dataset(tmp_path_factory.mktemp("data") / "fields", images=30)


@pytest.fixture(scope="module")
def worker(data: Path) -> WorkerContext:
    return make_worker(data)


@pytest.fixture(scope="module")
def undisturbed(worker: WorkerContext, tmp_path_factory: pytest.TempPathFactory) -> tuple[Measurement, Path]:
    """The leg's measurement, and its rung."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return run(worker, folder), rung_folder(folder, 2, 1)


def test_a_baseline_killed_between_training_and_measurement_is_only_measured(
    data: Path, worker: WorkerContext, undisturbed: tuple[Measurement, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"from {__name__} import *; run_until_captioning(Path({str(data)!r}), Path({str(tmp_path)!r}))"
    process = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert not rung_folder(tmp_path, 2, 1).exists()
    checkpoint = (trained_folder(tmp_path, 2, 1) / "state.safetensors").stat()

    def never(*_: Any) -> NoReturn:
        raise AssertionError("trained again")

    monkeypatch.setattr(Training, "run", never)
    measurement, rung = run(worker, tmp_path), rung_folder(tmp_path, 2, 1)
    assert (rung / "state.safetensors").stat().st_ino == checkpoint.st_ino
    for name in ("cider", "val_loss", "train_loss", "params"):
        assert measurement.metrics[name] == undisturbed[0].metrics[name], name
    assert list(measurement.metrics) == list(undisturbed[0].metrics) and measurement.seconds["train"] > 0
    assert {path.name for path in rung.iterdir()} == {path.name for path in undisturbed[1].iterdir()}
    assert (rung / "model" / "model.safetensors").is_file()
    assert not list(rung.parent.glob(".*")), "nothing is left aside"


def test_a_damaged_training_of_a_baseline_is_trained_again(
    worker: WorkerContext, undisturbed: tuple[Measurement, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = trained_folder(tmp_path, 2, 1)
    shutil.copytree(undisturbed[1], trained, ignore=shutil.ignore_patterns("measurement.json", "captions.json"))
    checkpoint = trained / "state.safetensors"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:1000])
    assert run(worker, tmp_path).metrics["cider"] == undisturbed[0].metrics["cider"]
    assert "trained again: " in caplog.text
    assert (rung_folder(tmp_path, 2, 1) / "state.safetensors").read_bytes() == whole


@pytest.mark.parametrize("baseline", ["puret_xe", "bita"])
def test_monstrous_captions_are_cut_or_left_out(baseline: str, tmp_path: Path) -> None:
    data = write_fields_dataset(tmp_path / "fields", images=20)
    for image, text in (
        ("field_0.png", "1" + "." * 300),
        ("field_1.png", LONG),
        ("field_3.png", LONG),
        ("field_8.png", "b" * 99),
    ):
        add_caption(data, image, text)
    assert run(make_worker(data), tmp_path / "leg", baseline).metrics["val_loss"] > 0


def test_puret_learns_a_cut_caption_without_its_end(tmp_path: Path) -> None:
    data = write_fields_dataset(tmp_path / "fields", images=20)
    add_caption(data, "field_0.png", LONG)
    worker = make_worker(data)
    captioner = PureTCaptioner("puret_xe", worker, 0, None)
    (plain, _), (cut, _) = captioner._rows(worker.data.samples[0])
    assert plain[-1] == 0 and len(cut) == CAPTION_TOKENS and 0 not in cut
