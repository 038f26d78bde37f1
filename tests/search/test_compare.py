"""The comparison: every row of the hand-made table is there, states are named, conclusions follow from the data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.hand_made_study.conclusions import FAILS, HOLDS, UNDECIDED, UNMEASURED, checks
from research.hand_made_study.content import Comparison
from research.hand_made_study.counts import full_size
from research.hand_made_study.curves import training_state
from research.hand_made_study.html import page
from research.hand_made_study.markdown import markdown
from research.hand_made_study.rows import Row, fill_latencies, find_row, trial_row
from research.hand_made_study.sections import Table, sections
from rsopt.cli import command
from rsopt.core.baseline import BaselineScore
from rsopt.core.leg_files import read_captions
from rsopt.cost.model import CostModel
from rsopt.data.read import read
from rsopt.model.configs import base_config
from rsopt.scores.scorer import scorer_of
from search import compare
from search.results.build_front import study_front
from search.results.reference_study import read_reference_study
from search.space.load import load_space
from search.storage.layout import SPACE_FILE
from search.study.settings import Settings

ROOT = Path(__file__).parents[2]
STUDY = read_reference_study()
# Full size, 11 text tokens: parameters, trained, GMAC in all, ViT-g, Q-Former, LLM with head.
EXACT = {
    "zero-shot": (3_744_679_936, 0, 380.85, 260.36, 6.37, 114.05),
    "LoRA LLM": (3_744_679_936, 5_242_880, 380.85, 260.36, 6.37, 114.05),
    "LoRA both": (3_744_679_936, 6_189_056, 380.85, 260.36, 6.37, 114.05),
    "Q-Former 6 of 12 (exp. 1)": (3_692_111_872, 5_242_880, 377.66, 260.36, 3.19, 114.05),
    "Q-Former 6 of 12 (exp. 2)": (3_692_111_872, None, 377.66, 260.36, 3.19, 114.05),
    "Q-Former 8 of 12 (exp. 3)": (3_709_634_560, None, 378.72, 260.36, 4.25, 114.05),
    "LLM 24 of 32 (exp. 4)": (3_115_268_096, None, 353.72, 260.36, 6.37, 86.92),
    "LLM 28 of 32 (exp. 5)": (3_429_974_016, None, 367.28, 260.36, 6.37, 100.49),
    "LLM 28 + Q-Former 8 (exp. 6)": (3_394_928_640, None, 365.16, 260.36, 4.25, 100.49),
}


@pytest.fixture(scope="module")
def exact() -> dict[str, dict[str, Any]]:
    return full_size(STUDY)


def test_full_size_counts_of_every_row(exact: dict[str, dict[str, Any]]) -> None:
    assert exact.keys() == {row["name"] for row in STUDY["rows"]}
    for row in STUDY["rows"]:
        if row["name"] in EXACT:
            params, trainable, *gmacs = EXACT[row["name"]]
            assert exact[row["name"]]["params"]["total"] == params == row["params"]
            assert trainable in (None, exact[row["name"]]["trainable"])
            found = [exact[row["name"]]["gmacs"][part] for part in ("total", "vision", "qformer", "llm")]
            assert found == pytest.approx(gmacs, abs=0.006)
    puret, bita = exact["PureT"], exact["BITA"]
    assert (puret["params"]["total"], puret["trainable"]) == (229_411_484, 34_161_768)
    assert puret["gmacs"]["vision"] + puret["gmacs"]["encoder"] == pytest.approx(105.48, rel=1e-3)
    assert bita["gmacs"]["vision"] == pytest.approx(70.9, rel=0.01)
    assert bita["params"]["llm"] == exact["zero-shot"]["params"]["llm"]


def test_every_row_of_the_table_has_its_row_in_the_space() -> None:
    listed = {"zero-shot", *load_space("report").rows}
    assert {row["here"] for row in STUDY["rows"] if "here" in row} <= listed
    assert all(("here" in row) != ("system" in row) for row in STUDY["rows"])


def curve(train: list[float], val: list[float]) -> dict[str, list[list[float]]]:
    return {"train": [[i, x] for i, x in enumerate(train)], "val": [[i, x] for i, x in enumerate(val)]}


@pytest.mark.parametrize(
    ("train", "val", "state"),
    [
        (list(np.linspace(3, 1, 40)), [2, 1.5, 1.4], "converged"),
        (list(np.linspace(3, 1, 40)), [2, 1.4, 1.5], "overfits"),
        ([*np.linspace(3, 1, 20), *np.linspace(1, 2, 20)], [2, 1.4, 1.6], "diverged"),
        ([*np.linspace(3, 1, 20), *np.linspace(1, 2, 20)], [], "diverged"),
        ([*np.linspace(3, 1, 36), *([1.1] * 4)], [2, 1.5, 1.4], "converged"),
        ([*np.linspace(3, 1, 20), float("nan")], [], "diverged"),
        ([2.0] * 40, [2, 2], "learned nothing"),
    ],
)
def test_how_a_training_went_has_a_name(train: list[float], val: list[float], state: str) -> None:
    assert training_state(curve(train, val)) == state


def row(name: str, cider: float, ms: float, llm: float = 10, state: str = "converged") -> Row:
    rng = np.random.default_rng(0)
    latency = {"ms": ms, "low": 0.99 * ms, "high": 1.01 * ms, "vision": 20.0, "qformer": 5.0, "prefill": 10.0}
    return Row(
        name,
        state,
        lora="both",
        params={"llm": int(llm), "qformer": 5, "vision": 10, "total": int(llm) + 15},
        gmacs={"llm": llm, "qformer": 5.0, "vision": 10.0, "total": llm + 15},
        latency=latency | {"tokens": ms - 35},
        metrics={"cider": cider},
        intervals={"cider": (cider - 5, cider + 5)},
        curve=curve(list(np.linspace(3, 1, 40)), [2, 1.5]),
        per_image=cider + rng.normal(size=200),
    )


def verdicts(rows: list[Row], exact: dict[str, dict[str, Any]]) -> list[str]:
    return [check.verdict for check in checks(rows, exact, STUDY["rows"])]


def test_conclusions_follow_from_the_data(exact: dict[str, dict[str, Any]]) -> None:
    rows = [row(n, 80, 100) for n in ("zero-shot", "LoRA LLM", "LoRA both")]
    rows += [row("Q8 both", 80, 100), row("LLM28", 60, 90), row("LLM28+Q8", 60, 88)]
    assert verdicts(rows, exact) == [FAILS, FAILS, HOLDS, UNDECIDED, "a trade: saves time, costs CIDEr", FAILS, FAILS]
    rows[3:] = [row("Q8 both", 80, 90), row("LLM28", 80, 90), row("LLM28+Q8", 80, 88)]
    assert verdicts(rows, exact) == [FAILS, FAILS, HOLDS, HOLDS, HOLDS, HOLDS, FAILS]
    diverged = [replace(r, state="diverged") for r in rows]
    assert verdicts(diverged, exact)[-1] == HOLDS
    mixed = [replace(rows[2], state="diverged"), *rows[3:]]
    assert verdicts(mixed, exact)[-1] == UNDECIDED
    slow = [replace(r, latency=r.latency | {"qformer": 70.0, "tokens": 0.0}) for r in rows]
    assert verdicts(slow, exact)[1] == HOLDS
    nothing = verdicts([], exact)
    assert nothing[0] == FAILS and nothing[2] == HOLDS and {*nothing[1:2], *nothing[3:]} == {UNMEASURED}


def test_garbage_is_named_and_nothing_is_silently_empty(small_study: Settings, exact: dict[str, dict[str, Any]]) -> None:
    front = study_front(small_study.folder)
    reason = "garbage: every image gets the same caption: 'a'"
    broken = replace(front.trials[1], state="failed", reason=reason, name="LLM24", metrics={}, rung=0.0)
    costs = CostModel(base_config("tiny"))
    failed = trial_row(small_study.folder, broken, None, costs, False)  # type: ignore[arg-type]
    assert failed.state == "garbage" and not failed.metrics and failed.params["total"] > 0
    rows = (row("LoRA LLM", 80, 100), failed)
    found = Comparison("s", "tiny", "mini", 96, {"blind_class": BaselineScore(90.0, 1.0)}, STUDY, exact, rows, (), ())
    for section in sections(found):
        if isinstance(section, Table):
            assert section.rows and all(len(r) == len(section.head) for r in section.rows)
    measured = next(s for s in sections(found) if isinstance(s, Table) and "state" in s.head)
    by_name = {r[0]: r for r in measured.rows}
    assert {r["name"] for r in STUDY["rows"]} <= by_name.keys()
    assert "garbage: every image gets the same caption" in by_name["LLM 24 of 32 (exp. 4)"][2]
    assert "below blind_class" in by_name["LoRA LLM"][-1]
    assert by_name["BITA"][2].startswith("missing: not given") and "--baselines" in by_name["PureT"][2]
    assert by_name["LLM 28 of 32 (exp. 5)"][2].startswith("missing: not in this study")


def test_another_kind_of_captioner_is_counted_by_its_own_code(small_study: Settings) -> None:
    trial = replace(study_front(small_study.folder).trials[1], baseline="puret", name="PureT")
    data = read(small_study.data or "")
    found = trial_row(small_study.folder, trial, scorer_of(data, "val"), CostModel(base_config("tiny")), False)
    assert found.kept == {} and found.metrics
    assert found.params == {"total": trial.metrics["params"]} and found.gmacs == {"total": trial.metrics["gmacs"]}


def test_one_candidate_may_stand_for_two_rows() -> None:
    rows = [row("Q8 both = Q8 best layers", 80, 100)]
    assert find_row(rows, "Q8 best layers") is find_row(rows, "Q8 both") is rows[0] and find_row(rows, "Q8") is None


def test_a_row_without_scores_has_the_latency_of_its_depths() -> None:
    kept = {"vision": 4, "qformer": 6, "llm": 6}
    known = replace(row("LLM24 best layers", 80, 90), kept=kept)
    broken = Row("LLM24", "garbage", kept=kept)
    other = Row("LLM28", "garbage", kept={**kept, "llm": 7})
    assert [r.latency.get("ms") for r in fill_latencies([known, broken, other])] == [90, 90, None]


@pytest.fixture(scope="module")
def listed_study(small_study: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The small study as one of a fixed list."""
    storage = tmp_path_factory.mktemp("listed")
    shutil.copytree(small_study.folder, storage / small_study.name)
    shutil.copy(ROOT / "spaces" / "report.yaml", storage / small_study.name / SPACE_FILE)
    return replace(small_study, storage=str(storage))


def run(settings: Settings, *options: str) -> int:
    return command(compare.main, ["--name", settings.name, "--storage", settings.storage, "--no-meteor", *options])


def test_the_command(listed_study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = (read_captions(listed_study.folder, 1, 1.0) or {})["captions"]
    given = tmp_path / "given.json"
    given.write_text(json.dumps(captions))
    rows = ["--row", f"PureT={given}", "--row", f"<b>|mine={given}"]
    assert run(listed_study, "--json", *rows) == 0
    found = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in found["table"]] == [r["name"] for r in STUDY["rows"]]
    ours = study_front(listed_study.folder).trials[1].metrics
    assert found["table"][0]["here"]["metrics"]["cider"] == pytest.approx(ours["cider"])  # the same code scored both
    assert found["table"][1]["here"]["state"] == "not tuned" and found["table"][1]["full_size"]["params"]["vision"] > 0
    assert found["table"][2]["here"]["state"] == "missing"
    assert {r["name"] for r in found["others"]} > {"<b>|mine"} and len(found["conclusions"]) == 7
    assert run(listed_study, *rows) == 0
    text = capsys.readouterr().out
    assert all(f"| {r['name']} |" in text for r in STUDY["rows"])
    assert "~~GFLOPs (reported)~~" in text and "not the base of the hand-made study" in text and "<b>\\|mine" in text
    assert run(listed_study, "--html", str(tmp_path / "c.html"), *rows) == 0
    written = (tmp_path / "c.html").read_text()
    assert "&lt;b&gt;|mine" in written and "<b>|" not in written and 'class="wrong"' in written


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        (["--row", "PureT"], None, "must be NAME=captions.json"),
        (["--row", "=x.json"], None, "must be NAME=captions.json"),
        (["--row", "A=no.json"], None, "'no.json' is not a file"),
        (["--row", "A=FILE"], "[]", "must be an object {image id: caption}"),
        (["--row", "A=FILE"], "{", "FILE"),
        (["--row", "A=FILE"], '{"1.png": "a"}', "have no candidate caption"),
        (["--row", "A=FILE", "--row", "A=FILE"], "{}", "a name of its own"),
        (["--baselines", "none"], None, "no study 'none'"),
        (["--html", "no/such/place.html"], None, "cannot write"),
    ],
)
def test_bad_input_is_one_line(
    listed_study: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    content: str | None,
    message: str,
) -> None:
    file = tmp_path / "FILE"
    if content is not None:
        file.write_text(content)
    assert run(listed_study, *[o.replace("FILE", str(file)) for o in options]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and not out and "Traceback" not in err


def test_a_study_that_is_no_fixed_list_is_refused(
    small_study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "drawn"
    shutil.copytree(small_study.folder, storage / small_study.name)
    shutil.copy(ROOT / "spaces" / "pruning.yaml", storage / small_study.name / SPACE_FILE)
    assert run(replace(small_study, storage=str(storage))) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"error: study '{small_study.name}' drew its candidates from space 'pruning'; ")


def test_a_page_and_markdown_of_nothing(exact: dict[str, dict[str, Any]]) -> None:
    found = Comparison("s", "tiny", "mini", 96, {}, STUDY, exact, (), (), tuple(checks([], exact, STUDY["rows"])))
    assert markdown("t", sections(found)).count("not measured") >= 4
    assert "<svg" not in page("t", sections(found))
