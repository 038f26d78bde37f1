"""gpu-check: its code runs on a CPU, says what is wrong, and refuses in one line where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rsopt.caption.decoder_check import Agreement
from rsopt.cli import command
from rsopt.gpu_check import checks
from rsopt.gpu_check.__main__ import main


def test_without_a_gpu_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert command(main, []) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_answer_on_the_cpu(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path))
    assert command(main, ["--cpu", "--images", "6", "--batch-images", "4", "--json"]) == 0
    found = {line["name"]: line for line in json.loads(capsys.readouterr().out)["checks"]}
    assert all(line["good"] in (True, None) for line in found.values())
    assert "6 of 6 captions" in found["our beam search = transformers'"]["text"]
    assert {"training fits", "features fit", "checkpoints fit", "a trial of one epoch"} <= set(found)


def test_what_does_not_hold_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "compare_decoders", lambda *_, **__: Agreement(6, 1, 0.5, 1e-4))
    monkeypatch.setattr(checks, "free_bytes", lambda _: 1000)
    assert command(main, ["--cpu", "--images", "6", "--batch-images", "4"]) == 1
    out = capsys.readouterr().out
    assert "NO  our beam search = transformers'  1 of 6 captions the same, the others are worse by up to 5.0e-01" in out
    assert "NO  training fits" in out


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(main, ["--cpu", "--images", "0"]) == 2
    assert command(main, ["--cpu", "--base", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
