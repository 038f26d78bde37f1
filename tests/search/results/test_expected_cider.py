"""What is expected of a CIDEr on fresh images: less than a lucky score, more than one that the images were unkind to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import IntDistribution
from rich.console import Console

from benchmarks.calibration import compare
from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement
from rsopt.core.variant import BaseShape, Variant
from search.html_report.content import page_content
from search.results.build_front import build_front, study_front
from search.results.expected_cider import LEAST, expected, image_noise, predicted_without
from search.results.front import ExpectedCider, Front
from search.results.table import front_csv, front_table, print_front
from search.session.summary import refit_advice, search_lines
from search.simulation.recording import load_recording
from search.study.history import CandidateState
from search.study.settings import Settings
from search.tracking.study_runs import study_view
from tests.support.example_study import ENDED_MS, HISTORY, METADATA, make_settings, times_of
from tests.support.large_history import many

AGAIN = {1: ExpectedCider(76.0, 66.0, 86.0), 2: ExpectedCider(64.0, 54.0, 74.0), 4: ExpectedCider(30.0, 20.0, 40.0)}


def front_with_expectations() -> Front:
    front = build_front("s", METADATA, HISTORY)
    return replace(front, trials=tuple(replace(t, expected_cider=AGAIN.get(t.id)) for t in front.trials))


def history(ciders: list[float]) -> tuple[CandidateState, ...]:
    """Candidates of one parameter, each trained to the end."""
    candidate = Candidate(Variant.full(BaseShape(4, 6, 8)))
    return tuple(
        CandidateState(n, "sampled", "complete", candidate, {"x": n}, (Measurement(1.0, {"cider": cider}, {}),), order=(n,))
        for n, cider in enumerate(ciders)
    )


def test_a_score_moves_by_the_share_of_the_images_in_what_is_unexplained() -> None:
    scores, predicted = [110.0, 90.0, 100.0, 100.0], [100.0, 100.0, 90.0, 110.0]
    half = expected(scores, predicted, [np.sqrt(50.0)] * 4)
    assert [e.mean for e in half] == [105, 95, 95, 105]
    assert half[0].high - half[0].mean == pytest.approx(1.96 * np.sqrt(25 + 50), abs=0.1)
    assert [e.mean for e in expected(scores, predicted, [99.0] * 4)] == predicted, "nothing but the images"
    assert [e.mean for e in expected(scores, predicted, [0.0] * 4)] == scores, "many images: the score is what it is"
    assert expected([1.0], [1.0], [5.0])[0].low == 0, "no CIDEr is negative"


def test_the_noise_of_the_images_leaves_out_how_hard_they_are_for_all() -> None:
    rng = np.random.default_rng(0)
    images = 4000
    difficulty, own = rng.normal(0, 30, images), rng.normal(0, 20, (8, images))
    noise = image_noise(250 + difficulty + own)
    assert noise == pytest.approx(20 / np.sqrt(images), rel=0.1)
    assert image_noise(np.vstack([250 + difficulty + own, np.full(images, 7.0)]))[-1] == 0


def test_a_trial_is_predicted_from_the_others() -> None:
    smooth = [100.0 + 5 * n for n in range(12)]
    lucky = [*smooth[:6], smooth[6] + 30, *smooth[7:]]
    predicted = predicted_without(history(lucky), {"x": IntDistribution(0, 11)})
    assert set(predicted) == set(range(12))
    assert predicted[6] < lucky[6] - 15, "its own luck is no evidence for it"
    assert predicted_without(history(smooth[: LEAST - 1]), {"x": IntDistribution(0, 11)}) == {}


def test_nothing_is_expected_of_a_study_with_few_finished_trials(small_study: Settings) -> None:
    front = study_front(small_study.folder)
    assert 0 < len(front.finished) < LEAST
    assert front.optimism is None and all(t.expected_cider is None for t in front.trials)


def test_expectations_are_shown_wherever_the_front_is(capsys: pytest.CaptureFixture[str]) -> None:
    front = front_with_expectations()
    assert Front.from_json(front.to_json()) == front
    print_front(front, Console(width=200))
    text = capsys.readouterr().out
    assert "76 ± 10" in text and "expected again: CIDEr on fresh images" in text
    head, *rows = front_csv(front).splitlines()
    assert dict(zip(head.split(","), rows[1].split(","), strict=True))["cider_expected_low"] == "54.0"
    table = front_table(front)
    assert table["columns"].count("cider_expected") == 1 and 64.0 in table["data"][1]  # type: ignore[operator]
    print_front(build_front("s", METADATA, HISTORY), Console(width=200))
    assert "expected again" not in capsys.readouterr().out
    assert "cider_expected" not in front_csv(build_front("s", METADATA, HISTORY))


def test_the_page_has_them_beside_each_trial(tmp_path: Path) -> None:
    history, trials = many(12)
    front = build_front("s", METADATA, history)
    member = front.members[0].id
    again = tuple(replace(t, expected_cider=AGAIN[1]) if t.id == member else t for t in front.trials)
    content = page_content(make_settings(tmp_path), METADATA, history, trials, None, {}, replace(front, trials=again))
    assert {t["id"] for t in content["trials"] if t["again"] == "76 ± 10"} == {member}
    assert any(note.startswith("expected again") for note in content["table_notes"])


def test_mlflow_has_them_as_metrics(tmp_path: Path) -> None:
    view = study_view(
        make_settings(tmp_path), METADATA, HISTORY, times_of(HISTORY), "complete", ENDED_MS, front_with_expectations()
    )
    assert {("cider_expected", 64.0, 0), ("cider_expected_low", 54.0, 0), ("cider_expected_high", 74.0, 0)} <= set(
        view.children[2].metrics
    )
    assert not any(name.startswith("cider_expected") for name, *_ in view.children[3].metrics)


def test_the_last_lines_say_how_optimistic_the_front_is_and_what_to_train_again() -> None:
    front = front_with_expectations()  # 80, 70 and 30, of which 76, 64 and 30 are expected
    assert "measured again on fresh images, the front's CIDEr is expected to be 3 lower on average" in search_lines(front)
    assert refit_advice(front, "refit") == "train again over several seeds: refit"
    ties: dict[int, tuple[int, ...]] = {1: (2,), 2: (1, 4), 4: (2,)}
    tied = replace(front, trials=tuple(replace(t, same_cider=ties.get(t.id)) for t in front.trials))
    assert refit_advice(tied, "refit").startswith("trials 1, 2 and 4 cannot be told apart from another")
    assert refit_advice(tied, "refit").endswith("refit --pick 1,2,4")


def test_expectations_are_calibrated_where_scores_are_optimistic() -> None:
    """The recorded table after 40 full trials, in both directions; figures of twenty seeds are in docs/searchers.md."""
    halves = compare(load_recording(), 40.0, seeds=3)
    mean = {method: float(np.mean([half[0].mean() for half in found])) for method, found in halves.items()}
    within = float(np.mean([half[1].mean() for half in halves["score, shrunk to the model's (shown)"]]))
    assert mean["score"] > 8 > 5 > abs(mean["score, shrunk to the model's (shown)"])
    assert within >= 0.8
