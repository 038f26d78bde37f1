"""A new study is refused for the first thing that is wrong, in this order, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsopt.cli import command
from search import run

DEEP = "name: deep\nobjectives: [cider, params]\nparameters:\n  llm_layers: {layers: [4, 40]}\n"
# Each is wrong alone; what stands first is refused first. The last two are of the machine and of the study to learn from.
WRONG = {
    "option": (["--trials", "0"], "--trials must be at least 1"),
    "list": (["--sampler", "tpe"], "--sampler: space 'report' is a list of rows"),
    "name": (["--name", "../s"], "study name"),
    "data": (["--data", "nowhere"], "'nowhere' does not exist"),
    "exists": (["--name", "mine"], "study 'mine' exists"),
    "depths": (["--space", "deep.yaml"], "40 layers asked for"),
    "tracking": (["--tracking-uri", "here"], "tracking URI 'here'"),
    "ledger": (["--latency-ledger", "none.jsonl"], "none.jsonl"),
    "images": (["--data", "empty"], "empty"),
    "other study": (["--from-study", "gone"], "no study 'gone'"),
    "disk": (["--disk-gb", "0.000001"], "--disk-gb"),
}
CONFLICTS = {("list", "depths"), ("name", "exists"), ("data", "images"), ("list", "other study")}  # of one option or check


def refused(capsys: pytest.CaptureFixture[str], *kinds: str) -> str:
    words = ["--space", "report" if "list" in kinds else "pruning"]
    for kind in kinds:
        words += WRONG[kind][0]
    assert command(run.main, words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "deep.yaml").write_text(DEEP)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "study.json").write_text("{}")
    return tmp_path


def test_the_first_of_two_faults_is_named_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    kinds = list(WRONG)
    for at, first in enumerate(kinds):
        assert WRONG[first][1] in refused(capsys, first)
        for second in kinds[at + 1 :]:
            if (first, second) not in CONFLICTS:
                assert WRONG[first][1] in refused(capsys, first, second), (first, second)
    assert sorted(folder.rglob("*")) == before
