"""Wrong input of a new user: one line, exit code 2, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rsopt.cli import command
from search import front, run
from tests.support.rsicd_folder import SPACE_START, write_rsicd

Make = Callable[[Path], list[str]]


def space(text: str) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "own.yaml"
        path.write_text(text)
        return ["--space", str(path)]

    return make


def data(make_data: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> list[str]:
        make_data(folder / "data")
        return ["--space", "pruning", "--data", str(folder / "data")]

    return make


def no_images_key(folder: Path) -> None:
    write_rsicd(folder)
    (folder / "dataset_rsicd.json").write_text(json.dumps({"pictures": []}))


def existing(folder: Path) -> list[str]:
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "mine" / "study.json").write_text("{}")
    return ["--space", "pruning", "--name", "mine"]


def prose(folder: Path) -> list[str]:
    (folder / "prose.jsonl").write_text("it was fast\n")
    return ["--space", "pruning", "--latency-ledger", "prose.jsonl"]


CASES: dict[str, tuple[Make | list[str], str]] = {
    "no space": ([], "--space is needed: baselines, joint, lora, pruning, report or a YAML file"),
    "unknown space": (["--space", "purning"], "unknown space 'purning'; known: baselines, joint, lora, pruning, report"),
    "missing file": (["--space", "none.yaml"], "none.yaml"),
    "malformed YAML": (space("name: [own\nobjectives"), "own.yaml:"),
    "unknown key": (space(SPACE_START + "  lr: {float: [1.0e-4, 1.0e-3]}\nrugns: [1.0]\n"), "own.yaml:5"),
    "unknown parameter": (space(SPACE_START + "  learning: {float: [1.0e-4, 1.0e-3]}\n"), "own.yaml:4"),
    "too deep": (space(SPACE_START + "  llm_layers: {layers: [4, 40]}\n"), "40 layers asked for, the base has"),
    "missing data folder": (["--space", "pruning", "--data", "nowhere"], "'nowhere' does not exist"),
    "JSON without images": (data(no_images_key), "images"),
    "empty split": (data(lambda f: write_rsicd(f, ("train", "train", "test"))), "val split"),
    "missing images": (data(lambda f: write_rsicd(f, images=False)), "--skip-bad"),
    "one validation image": (data(write_rsicd), "on the val split CIDEr is 0 for any captions: there is one image"),
    "one validation image, only planned": (lambda f: [*data(write_rsicd)(f), "--dry-run"], "CIDEr is 0 for any captions"),
    "study exists": (existing, "study 'mine' exists"),
    "odd name": (["--space", "pruning", "--name", "../mine"], "study name"),
    "no trials": (["--space", "pruning", "--trials", "0"], "--trials must be at least 1"),
    "no number": (["--space", "pruning", "--trials", "many"], "--trials"),
    "no workers": (["--space", "pruning", "--workers", "0"], "--workers must be at least 1"),
    "unknown option": (["--space", "pruning", "--fast"], "--fast"),
    "unknown sampler": (["--space", "pruning", "--sampler", "best"], "tpe"),
    "silent tracking server": (["--space", "pruning", "--tracking-uri", "http://127.0.0.1:9"], "does not answer"),
    "odd tracking URI": (["--space", "pruning", "--tracking-uri", "here"], "allowed are"),
    "hub id without network": (["--space", "pruning", "--base", "Salesforce/blip2-opt-2.7b"], "Salesforce/blip2-opt-2.7b"),
    "no such base": (["--space", "pruning", "--base", "tinny"], "tinny"),
    "missing ledger": (["--space", "pruning", "--latency-ledger", "none.jsonl"], "none.jsonl"),
    "ledger that is none": (prose, "'prose.jsonl' is none"),
    "no limit": (["--space", "pruning", "--max-latency-ms", "-3"], "--max-latency-ms must be above 0"),
    "no hours": (["--space", "pruning", "--hours", "0"], "--hours must be above 0"),
    "learn from nothing": (["--space", "pruning", "--from-study", "gone"], "no study 'gone'"),
    "resume without name": (["--resume"], "--name"),
    "resume of nothing": (["--resume", "--name", "gone"], "no study 'gone'"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make, says = CASES[case]
    argv = make if isinstance(make, list) else make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert command(run.main, argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before


def test_front_of_an_unknown_study_names_the_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    existing(tmp_path)
    assert command(front.main, ["--name", "yours"]) == 2
    assert "there are: mine" in capsys.readouterr().err


def test_help_shows_defaults_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in ("default", "Ctrl-C", "Salesforce/blip2-opt-2.7b", "pruning"):
        assert part in text
