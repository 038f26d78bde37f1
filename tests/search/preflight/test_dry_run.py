"""--dry-run: what a search would be, without training or writing anything."""

from pathlib import Path

import pytest

from rsopt.cli import command
from search import run
from tests.support.fields_dataset import add_caption, write_fields_dataset


def test_it_shows_space_costs_and_limits_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(["--space", "pruning", "--dry-run", "--max-params", "2000000", "--hours", "2"]) == 0
    out = capsys.readouterr().out
    for part in (
        "llm_layers        4 to 8",
        "(when lora is llm or both)",
        "size: continuous; 6 starting points",
        "parameters",
        "latency, ms       not known before it is measured",
        "limits: params at most 2e+06; they exclude",
        "min of one worker's training for 20 trials",
        "GFLOP/s measured on one core",
        "; at most 2 h",
    ):
        assert part in out, out
    assert not list(tmp_path.rglob("*"))


def test_it_counts_the_captions_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_fields_dataset(tmp_path / "fields")
    memory = {}
    for base in ("tiny", "opt-2.7b"):
        assert run.main(["--space", "pruning", "--base", base, "--data", "fields", "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert "captions: 3.67 distinct for each of 24 training images; at most 64 tokens of each are learned" in out, out
        assert ("estimated with the tokenizer of tiny" in out) == (base != "tiny") and "garbled" not in out
        memory[base] = next(line for line in out.splitlines() if "memory, GB" in line)
    add_caption(data, "field_0.png", "1" + "." * 200)
    add_caption(data, "field_3.png", " ".join(f"roof {n}" for n in range(60)))
    assert run.main(["--space", "pruning", "--data", "fields", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert (
        "captions: 1 garbled (one word or sign over and over) left out of training and of the validation loss: field_0.png" in out
    )
    assert "captions: 1 of more than 64 tokens" in out and "learned up to there: field_3.png" in out
    assert "references that scores are computed from stay as published" in out
    assert memory["tiny"] in out, "one image does not decide the plan"


def test_bad_data_is_refused_before_anything_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_fields_dataset(tmp_path / "fields")
    (data / "images" / "field_3.png").unlink()
    assert command(run.main, ["--space", "pruning", "--data", str(data), "--dry-run"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "field_3.png" in err and err.count("\n") == 1
