"""gpu-check: its code runs on a CPU, says what is wrong, and refuses in one line where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rsopt.caption.decoder_check import Agreement
from rsopt.cli import command
from rsopt.core.packed_lengths import PackedLengths
from rsopt.data.records import Caption, CaptionData, Sample
from rsopt.gpu_check import checks
from rsopt.gpu_check.__main__ import main
from rsopt.gpu_check.captions import CheckCaptions
from rsopt.model.base import load_base
from rsopt.trial.worker_context import WorkerContext
from tests.support.fields_dataset import write_fields_dataset


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


def test_plans_count_the_data_at_hand(tmp_path: Path) -> None:
    """An ordinary set and one garbled image: ids are the base's, repetitions are weights, the plan is the ordinary one's."""
    captions = [(Caption(f"a road {n}", 4), Caption("a long road")) for n in range(39)] + [(Caption("house " * 7 * 60),)]
    own = [Sample(f"{n}", "train", c, path=tmp_path) for n, c in enumerate(captions)]
    data = CaptionData("own", "karpathy", (*own, Sample("v", "val", (Caption("a road"),), path=tmp_path)))
    base = load_base("tiny", torch.device("cpu"))
    found = CheckCaptions.of(base, 8, data, "tiny")
    assert (found.images, found.train, found.val, len(found.some)) == (41, 39, 1, 8), "the image of a garbled caption is none"
    assert {c.weight for captions in found.some for c in captions} == {4.0, 1.0}
    assert found.some[0][0].ids == WorkerContext(base, data).tokens(own[0])[0].ids
    assert found.packed == PackedLengths.of([sum(len(c.ids) for c in WorkerContext(base, data).tokens(s)) for s in own[:39]])
    assert "tokenizer of tiny" in CheckCaptions.of(base, 2, data, "opt-2.7b").whose
    assert "tokenizer of tiny" not in found.whose and found.whose == "captions of own"


def test_data_is_checked_before_the_base_is_loaded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command(main, ["--cpu", "--base", "nowhere", "--data", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    data = str(write_fields_dataset(tmp_path / "fields", images=20))
    assert command(main, ["--cpu", "--images", "4", "--batch-images", "4", "--data", data]) == 0
    assert "(captions of fields), at most" in (out := capsys.readouterr().out) and "for 20 images" in out


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
