"""The sentence that a search was for: right for each outcome, with the noise of both, and wherever people look first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rsopt.core.baseline import BaselineScore
from rsopt.core.candidate import Candidate
from rsopt.core.leg_files import CAPTIONS, rung_folder
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant
from search.html_report.content import page_content
from search.results.build_front import build_front, with_evidence
from search.results.front import Front
from search.results.table import print_front
from search.results.verdict import next_step, verdict
from search.study.history import CandidateState, History
from tests.support.example_study import HISTORY, METADATA, make_settings

EXPORT = "python -m search.export --name s --pick knee --out s-knee"
FULL = Variant.full(BaseShape(4, 6, 8), LoraSpec(LoraPart(4, 8, "qk")))
PRUNED = replace(FULL, llm_layers=tuple(range(7)), qformer_layers=tuple(range(4)))
INTERVALS = {"full": {"latency_low_ms": 49.5, "latency_high_ms": 50.5}, "knee": {"latency_low_ms": 45.8, "latency_high_ms": 46.2}}
IMAGES = 40


def study(objectives: tuple[str, ...] = ("cider", "latency_ms", "params"), full: dict | None = None, **knee: float) -> Front:
    """Full depth (CIDEr 80, 50 ms, 100 parameters), a small trial, and between them a pruned one with these metrics."""
    values = {"cider": 80.0, "latency_ms": 50.0, "params": 100.0, "trainable": 10.0, "train_s": 20.0, "captions_per_s": 8.0}
    history = tuple(
        replace(c, rungs=(replace(c.rungs[-1], metrics=metrics),), candidate=Candidate(variant))
        for c, metrics, variant in (
            (HISTORY[0], values | {"cider": 1.0}, FULL),
            (HISTORY[1], values | INTERVALS["full"] | (full or {}), FULL),
            (HISTORY[2], values | INTERVALS["knee"] | {"latency_ms": 46.0, "params": 84.0} | knee, PRUNED),
            (replace(HISTORY[4], number=3), {n: v / 4 for n, v in values.items()} | {"cider": 5.0}, PRUNED),
        )
    )
    return front_of(history, objectives)


def front_of(history: History, objectives: tuple[str, ...] = ("cider", "latency_ms", "params"), **blind: float) -> Front:
    baselines = {name: BaselineScore(cider, 1.0) for name, cider in blind.items()}
    return build_front("s", replace(METADATA, objectives=objectives, baselines=baselines), history)


def front_without(number: int, front: Front) -> Front:
    """The front of the other trials, of which the best CIDEr is the knee."""
    others = tuple(t for t in front.trials if t.id != number)
    best = max((t for t in others if t.pareto), key=lambda t: t.metrics["cider"])
    return replace(front, trials=others, picks={"knee": best.id})


def captioned(folder: Path, front: Front, noise: float) -> Path:
    """The study's folder with captions whose CIDEr has each trial's mean, with this noise from image to image."""
    for trial in front.finished:
        scores = trial.metrics["cider"] + np.random.default_rng(trial.id).permutation(np.linspace(-noise, noise, IMAGES))
        path = rung_folder(folder, trial.id, 1.0) / CAPTIONS
        path.parent.mkdir(parents=True, exist_ok=True)
        by_image = {f"i{n}": float(score) for n, score in enumerate(scores)}
        path.write_text(json.dumps({"captions": dict.fromkeys(by_image, "a"), "cider": by_image}))
    return folder


def test_the_knee_beside_the_full_depth(tmp_path: Path) -> None:
    front = study(cider=74.2)
    start = "Trial 2 (7 of 8 language-model and 4 of 6 Q-Former layers): 8 % faster and 16 % smaller than LoRA at full depth; "
    start += "CIDEr -5.8"
    assert verdict(front, tmp_path) == f"{start}.", "without captions nothing is said of noise"
    assert verdict(front, captioned(tmp_path, front, 60)) == f"{start}, which cannot be told apart."
    assert verdict(front, captioned(tmp_path, front, 2)) == f"{start}, which is beyond the noise of the images."


def test_a_full_depth_off_the_front_is_compared_all_the_same(tmp_path: Path) -> None:
    front = study(cider=95.0)
    assert [t.id for t in front.members] == [2, 3]
    assert "CIDEr +15.0, which is beyond the noise of the images." in str(verdict(front, captioned(tmp_path, front, 2)))


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"latency_predicted": 1.0}, "about 8 % faster (predicted) and 16 % smaller"),
        ({"latency_disturbed": 1.0}, "about 8 % faster (timing disturbed) and 16 % smaller"),
        (
            {"latency_high_ms": 49.6},
            "Q-Former layers): 16 % smaller than LoRA at full depth; latency -8 %, which cannot be told apart; CIDEr -10.0.",
        ),
        (
            {"latency_high_ms": 70.0, "latency_disturbed": 1.0},
            "; latency about -8 % (timing disturbed), which cannot be told apart; CIDEr -10.0.",
        ),
        ({"latency_ms": 60.0, "latency_low_ms": 59.0, "latency_high_ms": 61.0}, "20 % slower and 16 % smaller"),
        ({"params": 100.2, "latency_ms": 46.0}, "Q-Former layers): 8 % faster than LoRA at full depth; CIDEr -10.0."),
    ],
)
def test_latencies_are_as_sure_as_they_were_measured(metrics: dict[str, float], says: str, tmp_path: Path) -> None:
    assert says in str(verdict(study(cider=70.0, **metrics), tmp_path))


def test_a_disturbed_full_depth_makes_the_comparison_unsure(tmp_path: Path) -> None:
    assert "about 8 % faster (timing disturbed)" in str(verdict(study(full={"latency_disturbed": 1.0}, cider=70.0), tmp_path))


def test_other_objectives_have_words_of_their_own(tmp_path: Path) -> None:
    lora = study(("cider", "trainable", "train_s"), cider=85.0, trainable=18.0, train_s=15.0)
    assert "80 % more trainable parameters and 25 % less training time than LoRA" in str(verdict(lora, tmp_path))
    speed = study(("cider", "captions_per_s"), cider=70.0, captions_per_s=10.0)
    assert "25 % more throughput than LoRA at full depth; CIDEr -10.0." in str(verdict(speed, tmp_path))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"row": "paper"}, "Trial 2 (paper: 7 of 8 language-model and 4 of 6 Q-Former layers): "),
        ({"candidate": Candidate(FULL)}, "Trial 2 (every layer kept): "),
        ({"candidate": Candidate(replace(FULL, vision_layers=(0, 2)))}, "Trial 2 (2 of 4 vision layers): "),
        ({"candidate": Candidate(FULL, baseline="puret")}, "Trial 2 (PureT): "),
        ({"role": "zero_shot"}, "Trial 2 (the untuned base): "),
    ],
)
def test_a_trial_is_told_by_what_it_keeps(changes: dict, says: str, tmp_path: Path) -> None:
    front = front_of((*HISTORY[:2], replace(HISTORY[2], **{"candidate": Candidate(PRUNED), **changes}), *HISTORY[3:]))
    assert str(verdict(front, tmp_path)).startswith(says)


def test_no_pruned_model_beats_the_full_depth(tmp_path: Path) -> None:
    nothing = front_without(3, study(cider=70.0, latency_ms=52.0, params=100.0))
    text = "No pruned model beats LoRA at full depth"
    assert verdict(nothing, tmp_path) == f"{text}: the only candidate that was trained to the end is no better in anything."
    assert verdict(front_of(HISTORY[:2]), tmp_path) == "No trial beats LoRA at full depth: no candidate was trained to the end."


def test_a_gain_within_the_noise_is_no_win(tmp_path: Path) -> None:
    front = front_without(3, study(("cider", "trainable"), cider=85.0, trainable=18.0))
    says = str(verdict(front, captioned(tmp_path, front, 60)))
    assert says.startswith("No pruned model beats LoRA at full depth beyond the noise; the knee is trial 2 (7 of 8 ")
    assert says.endswith("80 % more trainable parameters than LoRA at full depth; CIDEr +5.0, which cannot be told apart.")


def test_where_the_full_depth_is_the_knee_the_best_of_the_others_is_named(tmp_path: Path) -> None:
    def trial(number: int, cider: float, latency_ms: float) -> CandidateState:
        c = HISTORY[2]
        metrics = {"cider": cider, "latency_ms": latency_ms, "params": 2 * latency_ms}
        return replace(c, number=number, rungs=(replace(c.rungs[-1], metrics=metrics),), candidate=Candidate(PRUNED))

    front = front_of((*HISTORY[:2], trial(2, 12, 40.0), trial(3, 11, 20.0)))
    assert front.picks["knee"] == 1
    text = "No pruned model balances CIDEr and cost better than LoRA at full depth; the best of the others is trial 2 (7 "
    assert str(verdict(front, tmp_path)).startswith(text)


def test_a_trial_that_is_neither_cheaper_nor_better_is_no_win(tmp_path: Path) -> None:
    front = front_without(3, study(("cider", "params"), cider=79.5, params=99.8))
    says = str(verdict(front, captioned(tmp_path, front, 60)))
    assert says.startswith(
        "No pruned model balances CIDEr and cost better than LoRA at full depth; the best of the others is trial 2 "
    )
    assert says.endswith(": as costly as LoRA at full depth; CIDEr -0.5, which cannot be told apart.")


def test_all_are_below_a_captioner_that_never_looks(tmp_path: Path) -> None:
    front = front_of(HISTORY, blind_class=203.9, blind=36.4)
    text = "All of these are below a captioner that never looks: the best CIDEr is 80.0, blind_class has 203.9."
    assert verdict(front, tmp_path) == text
    assert "no export yet" in next_step(front, EXPORT) and "search.export" not in next_step(front, EXPORT)
    knee_alone = front_of(HISTORY, blind_class=75.0)
    assert str(verdict(knee_alone, tmp_path)).endswith(
        "CIDEr -10.0, and below a captioner that never looks: blind_class has 75.0."
    )
    assert next_step(knee_alone, EXPORT) == EXPORT


def test_before_the_full_depth_has_finished_there_is_none(tmp_path: Path) -> None:
    assert verdict(front_of(HISTORY[:1], blind=999), tmp_path) is None
    assert next_step(front_of(HISTORY[:1], blind=999), EXPORT) == EXPORT


def test_any_trial_can_be_asked_for(tmp_path: Path) -> None:
    front = front_of(HISTORY)
    assert str(verdict(front, tmp_path, front.trials[4])).startswith(
        "Trial 4 (3 of 8 language-model layers): 60 % faster and 60 % smaller"
    )
    knee = verdict(front, tmp_path)
    assert verdict(front, tmp_path, front.trials[2]) == verdict(front, tmp_path, front.trials[1]) == knee


def test_it_stands_in_the_terminal_on_the_page_and_in_front_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = with_evidence(build_front("s", METADATA, HISTORY), tmp_path)
    assert front.verdict is not None and front.verdict.startswith("Trial 2 (")
    print_front(front, Console(width=80))
    assert capsys.readouterr().out.splitlines()[0] == front.verdict
    assert front.to_json()["verdict"] == front.verdict
    assert Front.from_json(front.to_json()) == front
    assert page_content(make_settings(tmp_path), METADATA, HISTORY, [], None, {}, front)["verdict"] == front.verdict
    assert build_front("s", METADATA, HISTORY[:1]).to_json()["verdict"] is None
