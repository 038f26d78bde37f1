"""--dry-run: what a search would be, without training or writing anything."""

from pathlib import Path

import pytest

from search import run


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
