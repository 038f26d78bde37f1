"""A search whose driver and worker are killed after a baseline's training: resumed, the baseline is only measured."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from rsopt.core.leg_files import STATE, read_measurement, rung_folder, trained_folder
from rsopt.trial.training_segment import TRAINING_FILE
from tests.chaos.command import front, running, search, until
from tests.support.fields_dataset import write_fields_dataset

SPACE = """\
name: rivals
objectives: [cider, latency_ms, params]
parameters: {lora: llm, llm_rank: 8, llm_targets: qk, epochs: 1, batch_images: 8}
rows:
  - {name: base}
  - {name: PureT, baseline: puret_xe}
"""


def test_a_baseline_killed_between_training_and_measurement_is_measured_after_resume(tmp_path: Path) -> None:
    (tmp_path / "rivals.yaml").write_text(SPACE)
    write_fields_dataset(tmp_path / "fields", images=30)
    study = tmp_path / "runs" / "rivals-1"
    trained, rung = trained_folder(study, 2, 1), rung_folder(study, 2, 1)
    with running(tmp_path, "--space", "rivals.yaml", "--data", "fields", "--workers", "1") as run:
        until((trained / STATE).exists, run)
        victims = [psutil.Process(run.process.pid), *run.workers()]
        for process in victims:
            process.kill()
        psutil.wait_procs(victims, timeout=10)
    assert trained.exists() and not rung.exists(), "killed after the measurement"
    training = json.loads((trained / TRAINING_FILE).read_text())

    search(tmp_path, "--resume", "--name", "rivals-1")
    measurement = read_measurement(study, 2, 1)
    assert measurement is not None and not trained.exists()
    assert measurement.seconds["train"] == round(training["seconds"]["train"], 4), "trained again"
    assert json.loads((rung / TRAINING_FILE).read_text()) == training
    assert [(t["name"], t["state"]) for t in front(study)["trials"]][2] == ("PureT", "complete")
