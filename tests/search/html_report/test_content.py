"""What the page holds follows from the study; what is computed for it equals a plain computation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsopt.cli import command
from rsopt.core.objectives import OBJECTIVES
from rsopt.scores.bootstrap import indistinguishable, paired_bootstrap
from search import front
from search.html_report.content import page_content, reference_points_of
from search.html_report.evidence import volume_over_compute
from search.html_report.render import render
from search.results.build_front import build_front
from search.results.rung_agreement import rung_agreements, saved
from search.results.table import latency_parts
from search.results.ties import same_cider
from search.study.settings import Settings
from tests.support.example_study import HISTORY, METADATA, make_settings
from tests.support.large_history import EVIL, many

CHOSEN = [OBJECTIVES[n] for n in ("cider", "latency_ms", "params")]


def content_of(html: str) -> dict[str, Any]:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert block
    return json.loads(block[1])


def test_html_of_a_real_study_holds_its_trials_pictures_and_captions(
    small_study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "front.html"
    argv = ["--name", small_study.name, "--storage", small_study.storage, "--html", str(out)]
    assert command(front.main, argv) == 0
    assert capsys.readouterr().out.strip() == str(out)
    content = content_of(out.read_text())
    assert [t["kind"] for t in content["trials"]] == ["zero_shot", "full_depth", "front", "unfinished"]
    assert len(content["images"]) == 10
    assert all(i["src"].startswith("data:image/jpeg;base64,") and i["references"] for i in content["images"])
    for trial in content["trials"]:
        assert len(trial["captions"]) == 10
        assert "params" in trial["values"], "counts are known without training"
    assert content["depths"] == {"vision": 4, "qformer": 6, "llm": 8}
    assert [line["kind"] for line in content["lines"]] == ["blind", "blind", "looks", "looks"]


def test_a_page_that_cannot_be_written_is_one_line(
    small_study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--name", small_study.name, "--storage", small_study.storage, "--html", str(tmp_path / "no" / "front.html")]
    assert command(front.main, argv) == 2
    assert "cannot write" in capsys.readouterr().err


def test_nothing_that_the_data_holds_ends_its_block(tmp_path: Path) -> None:
    history, trials = many(40)
    study = replace(make_settings(tmp_path), name="s", base=f"base {EVIL}")
    content = page_content(study, METADATA, history, trials, None, {}, build_front("s", METADATA, history))
    html = render(content)
    assert html.count("</script>") == 2 and "{{" not in html.split('id="data">')[0]
    assert content_of(html) == json.loads(json.dumps(content))
    assert any(EVIL in t["reason"] for t in content_of(html)["trials"])


def test_volume_never_falls_and_ends_at_the_fronts_share() -> None:
    history, trials = many(120)
    ended = {t.number: t.datetime_complete.timestamp() for t in trials if t.datetime_complete}
    curve = volume_over_compute(history, CHOSEN, ended)
    assert len(curve) == sum(c.final is not None for c in history)
    assert all(a["share"] <= b["share"] + 1e-12 and a["seconds"] <= b["seconds"] for a, b in pairwise(curve))
    assert curve[-1]["share"] == pytest.approx(build_front("s", METADATA, history).hypervolume_share)
    assert curve[0]["seconds"] == 80.0, "the moment of the first step is not a part of a leg's time"
    assert volume_over_compute(HISTORY[:1], CHOSEN, {}) == []


def test_pausing_counts_what_the_stopped_had_left() -> None:
    history, _ = many(60)
    stopped = [c for c in history if c.state == "stopped"]
    savings = saved(history)
    assert savings is not None and savings.stopped == len(stopped)
    assert savings.trainings == pytest.approx(0.67 * len(stopped))
    assert savings.seconds == pytest.approx(35 * 0.67 / 0.33 * len(stopped))
    assert saved(HISTORY) is None


def test_a_rung_that_knows_the_order_has_tau_one() -> None:
    history = [c for c in many(60)[0] if len(c.rungs) == 2]

    def with_early(c: Any, sign: float) -> Any:
        early = replace(c.rungs[0], metrics={"cider": sign * c.rungs[1].metrics["cider"]})
        return replace(c, rungs=(early, c.rungs[1]))

    assert rung_agreements(tuple(with_early(c, 1) for c in history))[0].kendall_tau == pytest.approx(1)
    assert rung_agreements(tuple(with_early(c, -1) for c in history))[0].kendall_tau == pytest.approx(-1)
    assert rung_agreements(tuple(history[:4]))[0].kendall_tau is None


def test_one_set_of_draws_says_what_the_paired_bootstrap_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(50, 20, 60) + rng.normal(0, 6, (6, 60)) + np.linspace(0, 8, 6)[:, None]
    flags = indistinguishable(values)
    for a in range(6):
        for b in range(6):
            _, low, high = paired_bootstrap(values[a], values[b])
            assert flags[a, b] == (low <= 0 <= high)
    assert not flags.all() and flags.diagonal().all()
    scores = {n: {f"i{k}": float(v) for k, v in enumerate(values[n])} for n in (0, 5)}
    assert same_cider(scores) == {0: [5] if flags[0, 5] else [], 5: [0] if flags[5, 0] else []}


def test_the_kind_and_interval_of_each_latency_is_shown(tmp_path: Path) -> None:
    history, trials = many(40)
    front = build_front("s", METADATA, history)
    content = page_content(make_settings(tmp_path), METADATA, history, trials, None, {}, front)
    finished = [t for t in content["trials"] if t["state"] == "complete"]
    assert {t["latency"]["kind"] for t in finished} == {"measured", "predicted", "disturbed"}
    for trial in finished:
        value = trial["values"]["latency_ms"]
        assert trial["latency"]["interval"] == [value - 4, value + 4]
        mark = {"measured": "", "predicted": "~", "disturbed": "!"}[trial["latency"]["kind"]]
        assert trial["latency"]["text"].startswith(f"{mark}{value:.1f}")
    assert [note[0] for note in content["table_notes"]] == ["~", "!"]
    assert {line["name"].split()[0]: line["in_scale"] for line in content["lines"]} == {"blind_class": True, "people": False}


def test_latency_is_split_where_it_was_split() -> None:
    metrics = {"latency_ms": 100.0, "latency_vision_ms": 20.0, "latency_qformer_ms": 5.0, "latency_prefill_ms": 10.0}
    assert latency_parts(metrics) == {"vision": 20.0, "qformer": 5.0, "prefill": 10.0, "tokens": 65.0}
    assert latency_parts({"latency_ms": 100.0, "latency_p90_ms": 120.0}) == {}


def test_the_hand_made_study_is_shown_over_its_base_alone() -> None:
    study = reference_points_of("Salesforce/blip2-opt-2.7b")
    assert study is not None and {p["name"]: p["cider"] for p in study["points"]}["zero-shot, by hand"] == 15.19
    assert reference_points_of("tiny") is None


def test_csv_has_a_row_a_trial(small_study: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    import csv

    assert command(front.main, ["--name", small_study.name, "--storage", small_study.storage, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["trial"] for row in rows} == {"0", "1", "2", "3"}
    assert rows[0]["pareto"] == "True" and float(rows[0]["cider"]) > 0
    assert next(r for r in rows if r["trial"] == "3")["bleu_4"] == ""  # it rests: not measured is absent
