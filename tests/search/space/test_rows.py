"""A listed space to its end: names survive, rows in pairs and with a teacher are trained, losses by step are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import read_curve
from rsopt.core.objectives import Fault, Measurement
from rsopt.data.read import read
from rsopt.model.configs import base_config, shape_of
from rsopt.scores.baselines import baselines_of
from search import run
from search.engine.legs import FULL_DEPTH, teacher_leg
from search.execution.messages import decode
from search.execution.work import WorkerSpec
from search.execution.worker import run_trial
from search.followup.refit_legs import plan_refits
from search.results.build_front import study_front
from search.session.build_engine import build_search
from search.space.load import load_space
from search.storage.layout import REFITS_FOLDER
from search.study.journal import read_history
from search.study.settings import Settings, StudyMetadata, load_study, save_study
from search.tracking.study_runs import study_view
from tests.support.example_study import make_settings, times_of
from tests.support.fields_dataset import write_fields_dataset

SPACE = """\
name: listed
objectives: [cider, latency_ms, params]
validations: 2
parameters: {lora: llm, llm_rank: 4, llm_targets: qk, dropout: 0.05, packed: false, batch_images: 4, ranking: prefix}
rows:
  - {name: whole, dropout: 0.0, packed: true, epochs: 3}
  - {name: taught, llm_layers: 0.5, epochs: 0.5, distill_logits: 1, distill_hidden: 1}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("listed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSOPT_CACHE", str(folder / "cache"))
        (folder / "listed.yaml").write_text(SPACE)
        data_path = write_fields_dataset(folder / "fields", images=30)
        space = load_space(folder / "listed.yaml")
        settings = make_settings(
            folder,
            name="listed-1",
            space="listed",
            data=str(data_path),
            trials=9,  # more than there are rows
            sampler="known_cost",
            workers=1,
            storage=str(folder / "runs"),
            validations=space.validations,
        )
        data = read(data_path)
        names = tuple(o.name for o in space.objectives)
        metadata = StudyMetadata(names, baselines_of(data, "val"), str(data_path), 1, False, {})
        save_study(settings, metadata)
        search = build_search(settings, metadata, space, shape_of(base_config("tiny")), None, 1, "float32")
        work = WorkerSpec.of(settings, metadata, search.teacher)
        while (leg := search.ask()) is not None:
            outcome = decode(run_trial({"leg": leg.to_json()}, work)["outcome"])
            assert not isinstance(outcome, Measurement) or outcome.rung == 1.0
            search.tell(leg, outcome)
        assert search.done and search.exhausted == "every candidate of the space was tried"
        search.close()
    return settings


def test_every_row_ran_under_its_name(settings: Settings) -> None:
    trials = study_front(settings.folder).trials
    assert [(t.name, t.row, t.role) for t in trials] == [
        ("L8 Q6 untuned", None, "zero_shot"),
        ("whole", "whole", "full_depth"),
        ("taught", "taught", "start"),
    ]
    # Half an epoch may well end in garbage; a row is then failed by that name, not silently empty.
    assert all(t.state == "complete" or (t.reason or "").startswith("garbage") for t in trials)
    history = read_history(settings.folder)
    metadata = StudyMetadata(("cider", "latency_ms", "params"), {}, "", 1, False, {})
    view = study_view(settings, metadata, history, times_of(history), "complete", 2)
    assert [run.name for run in view.children][1:] == ["whole", "taught"]


def test_losses_by_step_are_kept(settings: Settings) -> None:
    curve = read_curve(settings.folder, 1)
    assert curve is not None
    assert len(curve["val"]) == 2 and curve["val"][-1][0] == curve["train"][-1][0]
    final = study_front(settings.folder).trials[1].metrics
    assert curve["val"][-1][1] == pytest.approx(final["val_loss"], rel=1e-3)  # merged or not, the same model
    losses = [loss for _, loss in curve["train"]]
    third = len(losses) // 3
    assert sum(losses[:third]) > sum(losses[-third:])  # a single batch may be an easy one


def test_the_teacher_was_the_reference(settings: Settings) -> None:
    states = list((Path(settings.storage).parent / "cache" / "teachers").glob("*/state.safetensors"))
    own = settings.folder / "candidates/0001/rung-1.0000/state.safetensors"
    assert [s.read_bytes() for s in states] == [own.read_bytes()], "the study's own checkpoint, not another training"


def test_the_taught_row_is_what_it_says(settings: Settings) -> None:
    _, whole, taught = (c.candidate for c in read_history(settings.folder))
    assert taught.recipe.distills and not taught.recipe.packed and len(taught.variant.llm_layers) == 4
    assert not whole.recipe.distills and whole.recipe.packed


@pytest.mark.parametrize("option", [["--sampler", "tpe"], ["--no-halving"], ["--from-study", "other"]])
def test_what_a_list_has_no_use_for_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run.main, ["--space", "report", *option]) == 2
    assert f"{option[0]}: space 'report' is a list of rows" in capsys.readouterr().err


def test_a_refit_is_taught_by_the_study_and_not_by_another_refit(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))  # of a machine that asks the teacher for the first time
    metadata, history = load_study(settings.folder)[1], read_history(settings.folder)
    refits = plan_refits(settings.folder, [history[2], history[1]], 1, None, settings.seed)
    work = WorkerSpec.of(settings, metadata, teacher_leg(history[FULL_DEPTH].candidate, settings.seed), REFITS_FOLDER)
    # Number 1 among the refits, trained first, is the reference with another seed: not what the teacher knows.
    for refit in reversed(refits):
        leg = Leg(refit.number, refit.candidate, 0.0, 1.0, refit.seed)
        outcome = decode(run_trial({"leg": leg.to_json()}, work)["outcome"])
        assert isinstance(outcome, Measurement) or (isinstance(outcome, Fault) and outcome.kind == "garbage"), outcome
    assert (settings.folder / REFITS_FOLDER / "candidates/0001/rung-1.0000/state.safetensors").is_file()
    states = list((tmp_path / "cache" / "teachers").glob("*/state.safetensors"))
    own = settings.folder / "candidates/0001/rung-1.0000/state.safetensors"
    assert [s.read_bytes() for s in states] == [own.read_bytes()]
