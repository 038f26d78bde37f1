"""python -m rsopt.latency, and what a ledger written by it does for a worker on another device."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rsopt.core.variant import Architecture
from rsopt.errors import UserError
from rsopt.latency.__main__ import main
from rsopt.latency.ledger import Ledger
from rsopt.model.configs import base_config
from rsopt.model.random_base import random_base
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import architecture_latency
from tests.support.random_base import random_config

PROMISED = {"latency_ms", "p90_ms", "interval_ms", "runs", "new_tokens", "beams", "parts_ms", "device", "decoder"}


def test_a_model_is_measured_and_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "tiny", "--cpu", "--runs", "4", "--new-tokens", "6", "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.count("\n") == 1 and set(found) >= PROMISED
    assert (found["new_tokens"], found["beams"], found["runs"]) == (6, 5, 4)
    assert found["interval_ms"][0] <= found["latency_ms"] <= found["interval_ms"][1]
    assert found["natural_ms"] > 0 and found["natural_images"] == 4


def test_two_models_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--compare", "tiny", "tiny", "--cpu", "--runs", "4", "--new-tokens", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found["interval"]
    assert low <= found["ratio"] <= high and 0.5 < found["ratio"] < 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of --model, --compare and --base"),
        (["--model", "tiny", "--base", "tiny"], "one of"),
        (["--base", "tiny"], "belong together"),
        (["--model", "tiny", "--like", "f"], "goes with --ledger"),
        (["--base", "tiny", "--ledger", "f", "--like", "nowhere"], "'nowhere' is not a file"),
        (["--model", "tiny", "--random-weights"], "goes with --base"),
        (["--model", "tiny", "--new-tokens", "1"], "--new-tokens must be"),
        (["--model", "nowhere"], "no base 'nowhere'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        main(arguments)


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom rsopt.latency.__main__ import parser\nprint(parser().format_help())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "shared_prefix" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A ledger of a small random base, and what the command told about it."""
    folder = tmp_path_factory.mktemp("ledger")
    random_config(llm_layers=8, vision_layers=4).save_pretrained(folder / "base")
    path = folder / "card.jsonl"
    arguments = ["--base", str(folder / "base"), "--random-weights", "--ledger", str(path), "--new-tokens", "4", "--cpu"]
    with redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--json"]) == 0
    return path, json.loads(out.getvalue())


def test_a_ledger_is_written_with_random_weights(
    written: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, told = written
    before = path.read_text()
    base = str(path.parent / "base")
    assert main(["--base", base, "--random-weights", "--ledger", str(path), "--new-tokens", "4", "--cpu", "--json"]) == 0
    assert not any(row["measured"] for row in json.loads(capsys.readouterr().out)["architectures"]), "measured twice"
    assert path.read_text() == before
    assert all(row["measured"] for row in told["architectures"]) and len(told["architectures"]) >= 6
    assert len(Ledger(path).entries()) == len(told["architectures"])


def test_the_architectures_of_another_ledger(
    written: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = written[0].read_text().splitlines(keepends=True)
    crossed = json.loads(lines[1])  # as a study writes it that kept cross-attention layers alone
    crossed["architecture"]["qformer_layers"] = crossed["cross_layers"] = 2
    (like := tmp_path / "study.jsonl").write_text(lines[0] + json.dumps(crossed) + "\n")
    out, base = tmp_path / "there.jsonl", str(written[0].parent / "base")
    arguments = ["--base", base, "--random-weights", "--ledger", str(out), "--like", str(like), "--cpu"]
    assert main([*arguments, "--decoder", "shared_prefix", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new_tokens"] == 4 and told["model_error"] is None  # the length is the study's
    there = [e.architecture for e in Ledger(out).entries()]
    assert there == [e.architecture for e in Ledger(like).entries()]
    with pytest.raises(UserError, match="no architecture of base"):
        main(["--base", "tiny", "--ledger", str(out), "--like", str(like), "--cpu"])


def another_device(path: Path, into: Path) -> Ledger:
    """The ledger as if another card had written it."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["context"]["device"] = line["latency"]["device"] = "Other Card"
        line["context"]["torch"] = "2.99"
    into.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Ledger(into)


def test_a_stated_device_is_read_and_predicted_and_never_measured_here(
    written: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    ledger = another_device(written[0], tmp_path / "other.jsonl")
    base = random_base("b", base_config(str(written[0].parent / "base")), torch.device("cpu"), "float32")
    worker: Any = SimpleNamespace(base=base, reference_tokens=9)  # another length: the ledger's counts
    unused: Any = None

    def never() -> Any:
        raise AssertionError("measured on a device that does not count")

    def ask(architecture: Architecture, device: str | None = "Other Card") -> dict[str, float] | None:
        context = TrialContext(unused, worker, tmp_path, ledger, unused, unused, "generate", device)
        return architecture_latency(context, architecture, never)

    known = ledger.entries()[0]
    found = ask(known.architecture)
    assert found is not None and found["latency_ms"] == known.latency.latency_ms and found["latency_measured"] == 0
    predicted = ask(Architecture(4, 4, 5, cross_layers=2))
    assert predicted is not None and predicted["latency_predicted"] == 1 and predicted["latency_error_ms"] > 0
    assert ask(known.architecture, "Third Card") is None
    with pytest.raises(AssertionError, match="does not count"):  # without a stated device, here is what counts
        ask(known.architecture, None)
