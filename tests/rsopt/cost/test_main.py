"""The command `python -m rsopt.cost`: its JSON and table, bad input in one line, time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.cost.__main__ import main

ROOT = Path(__file__).parents[3]


def test_json_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--base",
        "opt-2.7b",
        "--vocab-size",
        "50272",
        "--qformer-layers",
        "8",
        "--llm-layers",
        "28",
        "--lora",
        "both",
        "--json",
    ]
    assert command(main, options) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["params", "trainable", "gmacs", "size_mb", "memory_gb"]
    assert list(found["params"]) == ["vision", "qformer", "projection", "llm", "query_tokens", "total"]
    assert list(found["gmacs"]) == ["vision", "qformer", "projection", "llm", "total"]
    assert found["params"]["total"] == 3_394_928_640
    assert set(found["memory_gb"]) == {"weights", "captioning", "training"}


def test_table_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(main, ["--base", "opt-2.7b", "--llm-layers", "0,1,30,31", "--vision-layers", "3,"]) == 0
    table = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line}
    assert rows["part"] == ["part", "layers", "parameters", "GMAC"]
    assert (rows["llm"][1], rows["vision"][1]) == ("4", "1")
    assert all(unit in table for unit in ("GMAC", " MB", " GB"))


BAD = {
    "--llm-layers 33": "must be 1 to 32",
    "--llm-layers 0": "must be 1 to 32",
    "--llm-layers -1": "must be 1 to 32",
    "--llm-layers 3,32": "layer 32 does not exist: the base has layers 0 to 31",
    "--qformer-layers 1,1": "distinct, ascending",
    "--qformer-layers 2,0": "distinct, ascending",
    "--llm-layers ,": "at least one llm layer",
    "--vision-layers some": "takes a count (8) or indices",
    "--lora llm --rank 0": "rank must be at least 1",
    "--lora both --qformer-rank -2": "rank must be at least 1",
    "--lora llm --targets heads": "unknown LoRA targets 'heads'; known: qk, qkv, qkvo, mlp, all_linear",
    "--lora everything": "'everything' is none of llm, qformer, both",
    "--train-projection": "needs --lora",
    "--text-tokens 0": "text_tokens must be at least 1",
    "--beams five": "invalid int",
    "--vocab-size 0": "at least 1 row",
    "--dtype int4": "unknown dtype 'int4'",
    "--base flan-t5-xl": "not supported yet",
    "--base {empty}": "has no config.json",
    "--qformer-layers 8 --surplus": "has no option '--surplus'",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_line_and_exit_2(options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = options.replace("{empty}", str(tmp_path)).split()
    assert command(main, ["--base", "opt-2.7b", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert BAD[options] in said.err


def test_time_and_memory_of_the_command() -> None:
    code = "import resource, sys; from rsopt.cost.__main__ import main; main(sys.argv[1:]); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, "--base", "opt-2.7b"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 15
    assert int(run.stdout.split()[-1]) * 1024 < 3e9


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; import rsopt.cost.__main__; print('torch' in sys.modules or 'transformers' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
