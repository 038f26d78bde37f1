"""`rsopt COMMAND`: the modules' own parsers, hints for what is misspelt, and nothing heavy before a command runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import rsopt
import search
from rsopt.cli import command
from search.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
MODULES = [module for module, _ in COMMANDS.values()] + ["rsopt.baselines.__main__"]
HEAVY = ("torch", "transformers", "ray", "mlflow", "optuna", "sklearn", "scipy", "pandas", "matplotlib")
# Every process starts without what the tests have imported.
SCRIPT = """
import contextlib, importlib, io, json, sys
from rsopt.cli import command
main = importlib.import_module(sys.argv[1]).main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
    try:
        command(main, ["--help"])
    except SystemExit as stop:
        helped = stop.code
    refused = [command(main, words) for words in json.loads(sys.argv[2])]
heavy = [name for name in sys.modules if name in json.loads(sys.argv[3])]
print(json.dumps([helped, out.getvalue(), refused, err.getvalue(), heavy]))
"""
USAGE = {
    "search.run": [[], ["--space", "pruning", "--trials", "0"], ["--space", "purning"], ["--resume"]],
    "search.front": [[], ["--name", "s", "--latency-device", "x"]],
    "search.export": [[], ["--name", "s", "--out", "x", "--beams", "0"], ["--name", "s", "--out", "nowhere/x"]],
    "search.refit": [[], ["--name", "s", "--seeds", "0"], ["--name", "s"]],
    "search.free": [[], ["--name", "s", "--workers", "0"], ["--name", "s"]],
    "search.compare": [[], ["--name", "s", "--row", "x"], ["--name", "s"]],
    "search.simulate": [["--seeds", "0"], ["--sampler", "x"], ["--workers", "0"], ["--losses", "2"]],
    "rsopt.latency.__main__": [[], ["--model", "x", "--runs", "1"], ["--model", "x", "--ledger", "y"]],
    "rsopt.caption.__main__": [[], ["--model", "tiny", "gone.jpg"], ["--model", "tiny", "--batch", "0", "x"]],
    "rsopt.pretrain.__main__": [[], ["--out", "x", "--skip-bad"], ["--out", "x", "--data", "y", "--keep", "z"]],
    "rsopt.gpu_check.__main__": [["--images", "0"]],
}


@pytest.mark.parametrize("module", MODULES)
def test_help_and_usage_errors_import_nothing_heavy(module: str, tmp_path: Path) -> None:
    wrong = [["--nonsense"], *USAGE.get(module, [[]])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, module, json.dumps(wrong), json.dumps(HEAVY)],
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    helped, out, refused, err, heavy = json.loads(done.stdout)
    assert heavy == []
    assert helped == 0 and out.startswith("usage: python -m ")
    assert refused == [2] * len(wrong)
    lines = err.splitlines()
    assert len(lines) == len(wrong) and all(line.startswith("error: ") for line in lines), err


def test_every_command_is_listed_with_a_line_and_its_own_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for name, (module, line) in COMMANDS.items():
        assert f" {name} {line}" in text
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert capsys.readouterr().out == import_module(module).parser().format_help()


def test_the_version_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"rsopt {project['version']}\n"
    assert rsopt.__version__ == search.__version__ == project["version"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serach", "--space", "pruning"], "COMMAND: 'serach' is none of search, front,"),
        (["serach"], "did you mean 'search'?"),
        (["gpu_check"], "did you mean 'gpu-check'?"),
        ([], "COMMAND"),
        (["--fast"], "rsopt has no option '--fast'"),
        (["search", "--space", "pruning", "--max-latency", "3", "--wrokers", "2"], "did you mean '--workers'?"),
        (["front", "--nmae", "s"], "has no option '--nmae'; did you mean '--name'?"),
        (["front", "--name", "s", "--trials", "3"], "has no option '--trials'; it is one of python -m search.run and python -m"),
        (["refit", "--seed", "1", "--name", "s"], ""),
        (["data", "describe", "x", "--seed", "1"], "python -m rsopt.data describe has no option '--seed'; "),
        (["data", "descibe", "x"], "COMMAND: 'descibe' is none of describe, fetch, make-mini; did you mean 'describe'?"),
        (["search", "--sampler", "tpee"], "--sampler: 'tpee' is none of known_cost, tpe, nsga2, random; did you mean 'tpe'?"),
        (["search", "--trials", "many"], "--trials must be a whole number, not 'many'"),
    ],
)
def test_what_is_misspelt_gets_a_hint(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(main, words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert says in err


def test_texts_name_commands_as_they_were_called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/rsopt"])
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        assert text.startswith(f"usage: rsopt {name} ") and "python -m" not in text
    assert command(main, ["front", "--name", "s", "--trials", "3"]) == 2
    assert "rsopt front has no option '--trials'; it is one of rsopt search and rsopt simulate\n" in capsys.readouterr().err
