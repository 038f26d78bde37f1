"""Refits: seeds of their own, nothing trained twice, the journal left alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rsopt.cli import command
from rsopt.common.atomic_files import write_json
from rsopt.core.baseline import BaselineScore
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import MEASUREMENT, rung_folder, scores_file
from rsopt.core.objectives import Fault, Measurement
from rsopt.errors import UserError
from rsopt.scores.bootstrap import paired_bootstrap, paired_over_seeds
from search.engine.legs import leg_seed
from search.followup.refit_legs import RefitLegs, plan_refits
from search.followup.refit_report import print_refits
from search.followup.refit_summary import RefitSummary, refit_summary
from search.refit import main, parse_picks
from search.results.build_front import build_front
from search.results.picks import neighbours
from search.results.refits import AS_TRAINED, best_refit, front_refits, read_plan, write_plan
from search.storage.layout import REFITS_FOLDER
from search.study.settings import Settings
from search.tracking.followup_runs import refit_runs
from tests.support.example_study import HISTORY, METADATA, make_settings

RUNGS = (0.5, 1.0)
FRONT = build_front("s", METADATA, HISTORY)


def finish(study: Path, leg: Leg, cider: float = 50.0) -> Measurement:
    """What a worker leaves on the disk."""
    measurement = Measurement(leg.stop, {"cider": cider}, {})
    folder = rung_folder(study / REFITS_FOLDER, leg.number, leg.stop)
    folder.mkdir(parents=True)
    (folder / MEASUREMENT).write_text(json.dumps(measurement.to_json()))
    return measurement


def put_scores(study: Path, number: int, ciders: list[float]) -> None:
    """The scores on the test split that a worker leaves behind the last leg."""
    scores = {"metrics": {"cider": float(np.mean(ciders))}}
    path = scores_file(study / REFITS_FOLDER, number, AS_TRAINED)
    write_json(path, {"scores": scores, "cider": {f"{i}.jpg": c for i, c in enumerate(ciders)}})


def test_seeds_are_distinct_recorded_and_none_of_the_searches(tmp_path: Path) -> None:
    wanted = plan_refits(tmp_path, [HISTORY[2], HISTORY[4]], 3, None, seed=0)
    seeds = [r.seed for r in wanted]
    assert len(set(seeds)) == 6
    assert not set(seeds) & {leg_seed(0, number) for number in range(1000)}
    assert read_plan(tmp_path) == wanted
    assert [r.trial for r in wanted] == [2, 4, 2, 4, 2, 4], "a seed of all before the next seed of any"


def test_a_plan_keeps_its_numbers_and_grows_by_what_is_new(tmp_path: Path) -> None:
    first = plan_refits(tmp_path, [HISTORY[2]], 2, None, seed=0)
    more = plan_refits(tmp_path, [HISTORY[2], HISTORY[4]], 3, None, seed=0)
    assert [r for r in more if r in first] == first
    longer = plan_refits(tmp_path, [HISTORY[2]], 1, 9.0, seed=0)
    assert longer[0].epochs == 9 and longer[0] not in more and longer[0].seed == first[0].seed
    assert [r.number for r in read_plan(tmp_path)] == list(range(7))


def test_what_is_on_the_disk_is_not_handed_out_again(tmp_path: Path) -> None:
    wanted = plan_refits(tmp_path, [HISTORY[2]], 2, None, seed=0)
    source = RefitLegs(tmp_path, wanted, RUNGS, slots=1)
    leg = source.ask()
    assert leg is not None and (leg.number, leg.start, leg.stop, leg.seed) == (0, 0.0, 0.5, wanted[0].seed)
    assert source.ask() is None, "one worker, one leg"
    source.tell(leg, finish(tmp_path, leg))

    again = RefitLegs(tmp_path, wanted, RUNGS, slots=2)  # the driver was killed
    legs = [again.ask(), again.ask()]
    assert [(leg.number, leg.start, leg.stop) for leg in legs if leg] == [(0, 0.5, 1.0), (1, 0.0, 0.5)]
    assert legs[0] is not None
    finish(tmp_path, legs[0])  # its worker finished when nobody listened, before the test split

    third = RefitLegs(tmp_path, wanted, RUNGS, slots=1)
    leg = third.ask()
    assert leg is not None and (leg.number, leg.stop) == (0, 1.0), "handed out to be scored; run_leg finds it trained"
    put_scores(tmp_path, 0, [1.0])
    assert [r.trial for r in wanted if r.number == 0] == [2]
    last = RefitLegs(tmp_path, wanted, RUNGS, slots=1).ask()
    assert last is not None and last.number == 1


def test_a_refit_lasts_from_its_first_leg_to_the_end_of_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = plan_refits(tmp_path, [HISTORY[2]], 2, None, seed=0)
    seconds = iter((100.0, 160.0, 200.0, 210.0))
    monkeypatch.setattr("rsopt.common.clock.time.time", lambda: next(seconds))
    for _ in RUNGS:  # a session a leg, as if the driver were killed between them
        source = RefitLegs(tmp_path, read_plan(tmp_path), RUNGS, slots=1)
        leg = source.ask()
        assert leg is not None and leg.number == 0
        source.tell(leg, finish(tmp_path, leg))
    put_scores(tmp_path, 0, [1.0])
    failing = source.ask()
    assert failing is not None and failing.number == 1
    source.tell(failing, Fault(failing.stop, "nan", "training loss is nan"))
    assert [(r.started_ms, r.ended_ms) for r in read_plan(tmp_path)] == [(100_000, 160_000), (200_000, 210_000)]
    runs = refit_runs(make_settings(tmp_path.parent, name=tmp_path.name), METADATA, HISTORY, 1)
    assert [(r.started_ms, r.ended_ms, r.status) for r in runs] == [(100_000, 160_000, "FINISHED"), (200_000, 210_000, "FAILED")]
    write_plan(tmp_path, wanted)  # as an earlier version left it
    assert [
        (r.started_ms, r.ended_ms) for r in refit_runs(make_settings(tmp_path.parent, name=tmp_path.name), METADATA, HISTORY, 7)
    ] == [(7, 7)]


def test_a_fault_is_written_down_and_not_tried_again(tmp_path: Path) -> None:
    wanted = plan_refits(tmp_path, [HISTORY[2]], 1, None, seed=0)
    source = RefitLegs(tmp_path, wanted, RUNGS, slots=1)
    leg = source.ask()
    assert leg is not None
    source.tell(leg, Fault(leg.stop, "nan", "training loss is nan"))
    assert source.done and read_plan(tmp_path)[0].fault == "nan: training loss is nan"
    assert RefitLegs(tmp_path, read_plan(tmp_path), RUNGS, 1).done


def test_a_leg_lost_three_times_ends_the_session_with_its_reason(tmp_path: Path) -> None:
    source = RefitLegs(tmp_path, plan_refits(tmp_path, [HISTORY[2]], 1, None, seed=0), RUNGS, slots=1)
    for _ in range(3):
        assert not source.done
        leg = source.ask()
        assert leg is not None
        source.report_lost(leg, "no room on the disk")
    assert source.done and source.stopped == "no room on the disk"


def test_picks_bring_their_neighbours_and_the_unpruned_model() -> None:
    assert [t.id for t in neighbours(FRONT, FRONT.trials[2])] == [1, 4]
    assert [t.id for t in neighbours(FRONT, FRONT.trials[4])] == [2]
    assert parse_picks(FRONT, "knee,neighbours,unpruned") == ([2], [2, 1, 4])
    assert parse_picks(FRONT, "4,neighbours") == ([4], [4, 2])
    for words, says in (("neighbours", "needs a pick"), ("best", "unknown pick"), ("3,99", "no trial 99")):
        with pytest.raises(UserError, match=says):
            parse_picks(FRONT, words)


def test_the_summary_tests_pairs_over_images_and_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refits = plan_refits(tmp_path, [HISTORY[2], HISTORY[1], HISTORY[4]], 2, None, seed=0)
    rng = np.random.default_rng(0)
    hard = rng.normal(50, 20, 60)
    for r in refits:
        level = {2: 5.0, 1: 5.2, 4: -20.0}[r.trial] + r.replica
        finish(tmp_path, Leg(r.number, r.candidate, 0.5, 1.0, r.seed), cider=60 + r.replica)
        put_scores(tmp_path, r.number, (hard + level + rng.normal(0, 3, 60)).tolist())
    summary = refit_summary(FRONT, tmp_path, refits, [2], {"blind_class": BaselineScore(63.8, 0.91)})
    apart = {c.other: c.apart for c in summary.comparisons}
    assert apart == {1: False, 4: True}, "1 is neighbour and unpruned model at once: compared once"
    assert {c.why for c in summary.comparisons} == {"neighbour", "unpruned"}
    test = summary.trials[0].test
    assert test is not None and test.seeds == 2 and test.sd is not None and test.sd > 0
    assert test.low < test.mean < test.high
    assert RefitSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary
    print_refits(summary, Console(width=160))
    shown = capsys.readouterr().out
    assert "blind_class" in shown and "63.8" in shown and "91% of images" in shown
    assert front_refits(tmp_path)[2].mean == pytest.approx(test.mean)
    best = best_refit(tmp_path, 2)
    assert best is not None and best[0].replica == 1 and best[1] == 2, "the best on validation, not on the test split"
    assert best_refit(tmp_path, 3) is None


def test_seeds_widen_an_interval_and_one_seed_is_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(50, 10, 200)
    one, other = images + rng.normal(0, 1, 200), images + rng.normal(0, 1, 200)
    difference, low, high = paired_over_seeds([one], [other])
    assert (difference, low, high) == pytest.approx(paired_bootstrap(one, other))
    _, wide_low, wide_high = paired_over_seeds([one - 5, one, one + 5], [other])
    assert wide_high - wide_low > 3 * (high - low)
    with pytest.raises(ValueError, match="same images"):
        paired_over_seeds([one], [other[:5]])


REFUSED = {
    "no seeds": (["--seeds", "0"], "--seeds must be 1"),
    "no epochs": (["--epochs", "0"], "--epochs must be above 0"),
    "untuned": (["--pick", "0"], "was not tuned"),
    "unfinished": (["--pick", "3"], "is interrupted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_and_write_nothing(case: str, small_study: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    options, says = REFUSED[case]
    assert command(main, ["--name", small_study.name, "--storage", small_study.storage, *options]) == 2
    error = capfd.readouterr().err.splitlines()
    assert len(error) == 1 and says in error[0]
    assert not (small_study.folder / REFITS_FOLDER).exists()


def test_a_refit_is_trained_scored_and_exported_and_its_card_says_so(small_study: Settings, tmp_path: Path) -> None:
    """The worker's part for real, in this process; Ray's part is in the chaos suite's kind of test, not here."""
    from rsopt.model.export_manifest import ExportManifest
    from search.execution.messages import decode
    from search.execution.work import WorkerSpec
    from search.export import main as export
    from search.followup.refit_worker import run_refit
    from search.results.build_front import study_front
    from search.study.journal import read_history
    from search.study.settings import load_study

    study = replace(small_study, storage=str(tmp_path / "runs"))
    shutil.copytree(small_study.folder, study.folder)
    journal = (study.folder / "journal.log").read_bytes()
    refits = plan_refits(study.folder, [read_history(study.folder)[1]], 1, 2.0, study.seed)
    _, metadata = load_study(study.folder)
    work = WorkerSpec("tiny", metadata.data_path, study.storage, study.name, False, part=REFITS_FOLDER)
    source = RefitLegs(study.folder, refits, RUNGS, 1)
    for _ in RUNGS:
        leg = source.ask()
        assert leg is not None
        outcome = decode(run_refit({"leg": leg.to_json()}, work)["outcome"])
        assert isinstance(outcome, Measurement), outcome
        source.tell(leg, outcome)
    assert source.done
    assert (study.folder / "journal.log").read_bytes() == journal
    checkpoint = rung_folder(study.folder / REFITS_FOLDER, 0, 1.0) / "state.safetensors"
    before = checkpoint.stat().st_mtime_ns
    leg = Leg(0, refits[0].candidate, 0.5, 1.0, refits[0].seed)
    run_refit({"leg": leg.to_json()}, work)
    assert checkpoint.stat().st_mtime_ns == before, "trained twice"

    front = study_front(study.folder)
    assert front.refits is not None and front.refits[1].seeds == 1
    argv = ["--name", study.name, "--storage", study.storage, "--pick", "1"]
    assert command(export, [*argv, "--out", str(tmp_path / "refit")]) == 0
    manifest = ExportManifest.read(tmp_path / "refit")
    assert manifest.refit is not None and manifest.refit.seed == refits[0].seed and manifest.recipe.epochs == 2
    assert manifest.check.same_as_study == manifest.check.images
    assert f"seed {refits[0].seed}" in (tmp_path / "refit" / "README.md").read_text()
    assert command(export, [*argv, "--out", str(tmp_path / "own"), "--as-searched"]) == 0
    assert ExportManifest.read(tmp_path / "own").refit is None
    assert ExportManifest.read(tmp_path / "own").captions != manifest.captions
