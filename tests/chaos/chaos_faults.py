"""One study with a series of faults, each once and at a fixed point, with real processes."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.model.configs import TINY
from search import front as front_command
from tests.chaos.command import check_mlflow, front, interrupt, out_of_order, prepare, rungs, running, until

OPTIONS = ["--space", "small.yaml", "--data", "fields", "--trials", "2", "--workers", "1", "--name", "s"]
RESUME = ["--resume", "--name", "s"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("user"))


def test_sigterm_keeps_finished_legs(folder: Path) -> None:
    study = folder / "runs" / "s"
    with running(folder, *OPTIONS) as run:
        until(lambda: "0001/rung-0.5000" in rungs(study), run)
        seconds = interrupt(run, signal.SIGTERM)
    assert run.process.returncode == 130, run.stderr
    assert "Front of s" in run.stdout and "python -m search.run --resume --name s" in run.stdout.splitlines()[-1]
    assert "Traceback" not in run.stderr
    print(f"SIGTERM: {seconds:.1f} s")


def test_changed_options_are_refused_or_recorded_a_torn_journal_is_cut_and_two_signals_end_it_at_once(folder: Path) -> None:
    study = folder / "runs" / "s"
    with running(folder, *RESUME, "--seed", "5") as refused:
        assert refused.wait() == 2
    assert refused.stderr.startswith("error: --seed 5: study 's' began with 0") and refused.stderr.count("\n") == 1
    with (study / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code": 8, "torn')
    with running(folder, *RESUME, "--trials", "3") as run:
        until(lambda: "worker, one a" in run.stderr, run)
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # the system merges two simultaneous signals
        run.process.send_signal(signal.SIGINT)
        code = run.wait(20)
    assert code == 130 and "interrupted twice" in run.stderr
    assert "20 bytes cut off" in run.stderr
    changes = [json.loads(line) for line in (study / "changes.jsonl").read_text().splitlines()]
    assert [(c["was"], c["now"]) for c in changes] == [({"trials": 2}, {"trials": 3})]


def test_without_memory_candidates_are_infeasible_and_finished_legs_stay(folder: Path) -> None:
    study = folder / "runs" / "s"
    before = rungs(study)
    with running(folder, *RESUME, environment={"CHAOS_IMAGES": "2", "CHAOS_LOG": str(folder / "log")}) as run:
        code = run.wait()
    assert code == 0, run.stderr
    assert {leg: rungs(study)[leg] for leg in before} == before
    assert not (unlike := out_of_order(front(study)["trials"])), unlike
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert {line["micro_images"] for line in lines} == {2}, "the micro-batch was not halved until it fits"
    assert (study / "memory.jsonl").exists()
    with running(folder, *RESUME, "--trials", "4", environment={"CHAOS_IMAGES": "0"}) as run:
        assert run.wait() == 0, run.stderr
    last = front(study)["trials"][-1]
    assert last["state"] == "infeasible" and last["reason"].startswith("memory: one image a step does not fit into")


def test_mlflow_is_rebuilt_from_the_study(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mlflow.db").unlink()
    for _ in range(2):
        assert command(front_command.main, ["--name", "s", "--storage", str(folder / "runs"), "--sync"]) == 0
    assert "written to sqlite:" in capsys.readouterr().out
    check_mlflow("s", f"sqlite:///{folder / 'mlflow.db'}", len(front(folder / "runs" / "s")["trials"]))


def test_a_base_that_workers_cannot_load_stops_the_study_without_failed_candidates(folder: Path) -> None:
    base = folder / "base"
    shutil.copytree(TINY, base)
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    options = ["--space", "small.yaml", "--data", "fields", "--trials", "2", "--workers", "1", "--name", "b"]
    with running(folder, *options, "--base", "base") as run:
        assert run.wait() == 1
    assert "stopped because 3 legs in a row could not run: base" in run.stdout, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
