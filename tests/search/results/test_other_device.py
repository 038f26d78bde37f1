"""A finished study's front on another device: another order of latencies is another front, and nothing is trained for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rsopt.cli import command
from rsopt.errors import UserError
from rsopt.latency.ledger import Ledger
from search.front import main
from search.results.build_front import study_front
from search.results.front import FrontEntry
from search.results.other_device import front_for_device, summary_lines
from search.study.settings import Settings


def other_device(settings: Settings, into: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The study's ledger as another device might have written it."""
    lines = [json.loads(line) for line in settings.ledger.read_text().splitlines()]
    for line in lines:
        line["context"]["device"] = line["latency"]["device"] = "Other Card"
        change(line)
    into.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return into


def forwards(line: dict[str, Any]) -> None:
    """A device on which the shallowest is the fastest."""
    line["latency"]["ratio"] = float(line["architecture"]["llm_layers"] + line["architecture"]["qformer_layers"])


def backwards(line: dict[str, Any]) -> None:
    """A device on which the deepest is the fastest."""
    forwards(line)
    line["latency"]["ratio"] = 1 / line["latency"]["ratio"]


def depth(trial: FrontEntry) -> int:
    return len(trial.variant.llm_layers) + len(trial.variant.qformer_layers)


def test_another_device_has_another_front(small_study: Settings, tmp_path: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in small_study.folder.rglob("*") if p.is_file()}
    front = study_front(small_study.folder)
    for name, change in (("forwards", forwards), ("backwards", backwards)):
        ledger = other_device(small_study, tmp_path / name, change)
        moved_front = front_for_device(small_study.folder, ledger)
        assert moved_front.elsewhere is not None
        assert (moved_front.elsewhere.measured, moved_front.elsewhere.unknown) == (3, 0)
        recorded = {
            e.architecture.llm_layers + e.architecture.qformer_layers: e.latency.latency_ms for e in Ledger(ledger).entries()
        }
        members, fastest = {t.id for t in moved_front.trials if t.pareto}, moved_front.picks["fastest"]
        for old, new in zip(front.trials, moved_front.trials, strict=True):
            if new.state == "complete":
                assert new.objectives == old.objectives | {"latency_ms": recorded[depth(new)]}
        order = [depth(moved_front.trials[n]) for n in sorted(members)]
        assert depth(moved_front.trials[fastest]) == (min(order) if name == "forwards" else max(order))
        was = {t.id for t in front.trials if t.pareto}
        assert moved_front.elsewhere.entered == sorted(members - was)
        assert moved_front.elsewhere.left == sorted(was - members)
        lines = [line for line in summary_lines(moved_front) if line.startswith("fastest: trial")]
        assert bool(lines) == (fastest != front.picks["fastest"])
    assert {p: p.stat().st_mtime_ns for p in small_study.folder.rglob("*") if p.is_file()} == files


def test_the_same_device_has_the_same_front(small_study: Settings) -> None:
    front, again = study_front(small_study.folder), front_for_device(small_study.folder, small_study.ledger)
    # The ledger may know more sessions than the study, and so another usual time of the reference: all latencies scale alike.
    assert again.picks == front.picks and again.hypervolume_share == pytest.approx(front.hypervolume_share)
    assert again.verdict == front.verdict is not None
    assert again.elsewhere is not None and again.elsewhere.entered == again.elsewhere.left == []


def test_what_the_ledger_says_nothing_of_is_on_no_front(small_study: Settings, tmp_path: Path) -> None:
    ledger = other_device(small_study, tmp_path / "f.jsonl", lambda line: None)
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(lines[0])
    front = front_for_device(small_study.folder, ledger)
    assert front.elsewhere is not None and front.elsewhere.measured >= 1 and front.elsewhere.unknown >= 1
    assert all("latency_ms" in t.metrics for t in front.trials if t.pareto)


def test_the_command(small_study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = other_device(small_study, tmp_path / "f.jsonl", backwards)
    arguments = ["--name", small_study.name, "--storage", small_study.storage]
    assert command(main, [*arguments, "--latency-ledger", str(ledger)]) == 0
    out = capsys.readouterr().out
    assert "Other Card, 1 thread, generate" in out and "nothing was trained" in out
    assert command(main, [*arguments, "--latency-ledger", str(ledger), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["elsewhere"]["device"] == "Other Card"
    for options, message in (
        (["--latency-ledger", str(tmp_path / "none")], "is not a file"),
        (["--latency-device", "X"], "goes with --latency-ledger"),
        (["--latency-ledger", str(ledger), "--html", "p.html"], "is for the table"),
        (["--latency-ledger", str(ledger), "--latency-device", "Third"], "nothing of device 'Third'"),
    ):
        assert command(main, [*arguments, *options]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1


def test_a_ledger_of_two_kinds_or_of_another_base(small_study: Settings, tmp_path: Path) -> None:
    one = other_device(small_study, tmp_path / "one", lambda line: None)
    two = other_device(small_study, tmp_path / "two", lambda line: line["context"]["protocol"].update(decoder="shared_prefix"))
    (both := tmp_path / "both").write_text(one.read_text() + two.read_text())
    with pytest.raises(UserError, match=r"2 kinds of latency.*generate.*shared_prefix"):
        front_for_device(small_study.folder, both, "Other Card")
    foreign = other_device(small_study, tmp_path / "foreign", lambda line: line["context"].update(vocabulary=7))
    with pytest.raises(UserError, match="holds nothing of base 'tiny'"):
        front_for_device(small_study.folder, foreign)
