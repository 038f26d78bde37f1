"""A leg on the shipped base: what it measures, where its time goes, and that rungs leave no trace in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.leg_files import rung_folder, trained_folder
from rsopt.core.objectives import Measurement
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.errors import CandidateError
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.model.base import load_base
from rsopt.model.build import build
from rsopt.model.prefix import qformer_outputs
from rsopt.model.vision_features import pixels
from rsopt.training.trainer import Trainer, TrainResult
from rsopt.trial import variant_trainee
from rsopt.trial.context import TrialContext
from rsopt.trial.run_leg import run_leg
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.variant_trainee import VariantTrainee
from rsopt.trial.worker_context import WorkerContext

LLM = LoraSpec(LoraPart(8, 16, "all_linear"))
BOTH = LoraSpec(LoraPart(8, 16, "qkvo"), LoraPart(8, 16, "qkvo"))


@pytest.fixture(scope="module")
def worker() -> WorkerContext:
    whole = read(mini_folder())
    samples = [s for split, n in (("train", 32), ("val", 12), ("test", 2)) for s in whole.split(split)[:n]]
    # Splits mixed, as in RSICD's file.
    return WorkerContext(load_base("tiny", torch.device("cpu")), replace(whole, samples=tuple(samples[::2] + samples[1::2])))


def run(worker: WorkerContext, folder: Path, lora: LoraSpec | None, start: float, stop: float) -> Measurement:
    device_lock = DeviceLock("test", folder / "quiet")
    variant = Variant.full(worker.base.shape, lora)
    leg = Leg(0, Candidate(variant, Recipe(lr=1e-3, epochs=2, batch_images=8)), start, stop, seed=3)
    try:
        ledger, stopwatch = Ledger(folder / "latency.jsonl"), Stopwatch(worker.base.device)
        return run_leg(TrialContext(leg, worker, folder, ledger, device_lock, stopwatch), VariantTrainee)
    finally:
        device_lock.close()


def test_a_leg_says_where_its_time_went(worker: WorkerContext, tmp_path: Path) -> None:
    found = run(worker, tmp_path, BOTH, 0, 1)
    parts = {"build", "features", "first_step", "train", "caption", "score", "val_loss", "latency", "trained"}
    assert parts <= set(found.seconds)
    assert found.seconds["first_step"] < found.seconds["build"] + found.seconds["features"] + found.seconds["train"] + 1
    assert {"cider", "latency_ms", "params", "train_loss", "val_loss", "images_per_s", "tokens_per_s"} <= set(found.metrics)
    assert found.metrics["images_per_s"] == pytest.approx(64 / found.seconds["train"], rel=0.05)
    assert "mfu" not in found.metrics, "no GPU, no share of its peak"
    assert run(worker, tmp_path, BOTH, 0, 1) == found, "what is there is not done again"


@pytest.mark.parametrize("lora", [LLM, BOTH])
def test_a_rung_in_between_changes_nothing(worker: WorkerContext, tmp_path: Path, lora: LoraSpec) -> None:
    whole = run(worker, tmp_path / "whole", lora, 0, 1)
    first = run(worker, tmp_path / "legs", lora, 0, 0.5)
    second = run(worker, tmp_path / "legs", lora, 0.5, 1)
    assert first.metrics["latency_measured"] == 1, "measured before anything is promoted"
    assert second.metrics["latency_measured"] == 0 and second.metrics["latency_ms"] == first.metrics["latency_ms"]
    assert "latency_natural_ms" not in first.metrics and second.metrics["latency_natural_ms"] > 0
    for name in ("cider", "val_loss", "params", "trainable"):
        assert second.metrics[name] == whole.metrics[name], name


def test_what_was_trained_and_not_measured_is_taken_up(
    worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = run(worker, tmp_path / "undisturbed", BOTH, 0, 1)
    folder, steps, real = tmp_path / "killed", list[float](), Trainer.run

    def counted(self: Trainer, start: float, stop: float, *rest: Any) -> TrainResult:
        steps.append(stop)
        return real(self, start, stop, *rest)

    def died(*args: Any, **options: Any) -> Any:
        raise SystemExit("killed while captioning")

    monkeypatch.setattr(Trainer, "run", counted)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(variant_trainee, "caption_features", died)
        run(worker, folder, BOTH, 0, 1)
    assert not rung_folder(folder, 0, 1).exists() and steps == [1]
    found = run(worker, folder, BOTH, 0, 1)
    assert steps == [1], "trained again"
    timed = {"images_per_s", "tokens_per_s", "train_s", "latency_natural_ms", "latency_ms", "latency_low_ms"}
    alike = {"cider", "val_loss", "train_loss", "params", "trainable", "micro_images"}
    assert {n: found.metrics[n] for n in alike} == {n: undisturbed.metrics[n] for n in alike}
    assert set(found.metrics) == set(undisturbed.metrics) >= timed and found.seconds["train"] > 0
    files = {path.name for path in rung_folder(folder, 0, 1).iterdir()}
    assert {"state.safetensors", "captions.json", "measurement.json", "curve.json"} <= files
    assert not list(rung_folder(folder, 0, 1).parent.glob(".*")), "nothing is left aside"

    folder = tmp_path / "damaged"
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(variant_trainee, "caption_features", died)
        run(worker, folder, BOTH, 0, 1)
    checkpoint = trained_folder(folder, 0, 1) / "state.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert run(worker, folder, BOTH, 0, 1).metrics["cider"] == undisturbed.metrics["cider"]
    assert steps == [1, 1, 1] and "trained again: " in caplog.text


def test_features_of_a_split_are_its_images(worker: WorkerContext) -> None:
    layers = range(worker.base.shape.vision_layers)
    for split in ("train", "val", "test"):
        samples = worker.data.split(split)
        with torch.inference_mode():
            expected = worker.base.model.vision_model(pixels(worker.base, samples)).last_hidden_state
        assert torch.allclose(worker.features(split, layers), expected, atol=1e-5)


def test_frozen_qformers_are_asked_once_for_all_trials(worker: WorkerContext) -> None:
    variant = Variant.full(worker.base.shape, LLM)
    a, b = (build(worker.base, variant, seed) for seed in (1, 2))
    outputs, queried = worker.inputs("val", a)
    assert queried
    assert worker.inputs("val", b)[0] is outputs
    with torch.no_grad():
        expected = qformer_outputs(a.model, worker.features("val", variant.vision_layers))
    assert torch.allclose(outputs, expected, atol=1e-5)
    assert worker.inputs("val", build(worker.base, Variant.full(worker.base.shape, BOTH)))[1] is False


def test_only_the_last_few_qformers_are_kept(worker: WorkerContext) -> None:
    for kept in ((0, 1), (2, 3), (4, 5), (0, 1, 2, 3)):
        shape = worker.base.shape
        llm = tuple(range(shape.llm_layers))
        worker.inputs("val", build(worker.base, Variant(tuple(range(shape.vision_layers)), kept, llm, LLM)))
    assert [key[1] for key in worker._queried] == [(4, 5), (0, 1, 2, 3)]


def test_a_fault_leaves_no_rung(worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise CandidateError("garbage", "every image gets the same caption")

    monkeypatch.setattr("rsopt.trial.quality.check_garbage", fail)
    with pytest.raises(CandidateError):
        run(worker, tmp_path, LLM, 0, 0.5)
    assert not rung_folder(tmp_path, 0, 0.5).exists()
