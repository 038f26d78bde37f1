"""Distillation: a teacher's answers stand where the student's targets do, its losses are the slow ones, files are made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.model.base import Base, load_base
from rsopt.model.build import build
from rsopt.training.dataset import TrainingSet, in_pairs, pack, target_starts
from rsopt.training.distillation import Answers, Distiller, cuts, recorded_outputs
from rsopt.training.losses import caption_logits, caption_loss, packed_batch, summed_loss
from rsopt.training.trainer import Trainer
from rsopt.trial.context import TrialContext
from rsopt.trial.teacher import TOP, Teacher, distillation_losses
from rsopt.trial.trainer_setup import recipe_data, trainer_for
from rsopt.trial.worker_context import WorkerContext
from tests.support.token_captions import padded_loss, random_captions

BOTH = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(3, 6, "all_linear"))
PAD = 1


@pytest.mark.parametrize(
    ("kept", "depth", "found"),
    [
        ((0, 1, 2, 3), 4, ()),
        ((0, 1, 2), 4, ((2, 3),)),  # prefix: the last layer answers for the tail
        ((0, 1, 5, 7), 8, ((1, 4), (2, 6))),
        ((2, 3), 4, ()),  # nothing trained stands before the gap
        ((0,), 4, ((0, 3),)),
    ],
)
def test_cuts(kept: tuple[int, ...], depth: int, found: tuple[tuple[int, int], ...]) -> None:
    assert cuts(kept, depth) == found


def data() -> TrainingSet:
    features = torch.randn(6, 5, 24, generator=torch.Generator().manual_seed(1))
    return TrainingSet(features, random_captions(2, images=6))


def answers_of(base: Base, known: TrainingSet, layers: tuple[int, ...]) -> Answers:
    """What the base itself says at every target: a teacher without tuning, asked all at once."""
    built = build(base, Variant.full(base.shape))
    features, batch = packed_batch(built.model, known, range(len(known.captions)), PAD)
    with torch.no_grad(), recorded_outputs(built.model, layers, batch) as heard:
        log_p, ids = torch.log_softmax(caption_logits(built.model, features, batch), -1).topk(60)
    return Answers(ids.numpy(), log_p.numpy(), heard)


@pytest.mark.parametrize("pairs", [False, True])
def test_an_unpruned_student_of_the_base_has_nothing_to_learn(random_base: Base, pairs: bool) -> None:
    known = data()
    own = in_pairs(known) if pairs else known
    built = build(random_base, Variant.full(random_base.shape, BOTH))  # B = 0: it is the base
    recipe = Recipe(distill_logits=1, distill_hidden=1)
    loss = Distiller(built, own, answers_of(random_base, known, ()), recipe, random_base.shape.llm_layers)
    part = [len(own.captions) - 1, 0, 3]
    total, caption = loss(*packed_batch(built.model, own, part, PAD), part)
    assert total.item() == pytest.approx(caption.item(), abs=1e-3)
    assert caption.item() == pytest.approx(summed_loss(built.model, *packed_batch(built.model, own, part, PAD)).item())


@pytest.mark.parametrize("pairs", [False, True])
def test_losses_are_those_of_a_teacher_beside_the_student(random_base: Base, pairs: bool) -> None:
    known = data()
    own = in_pairs(known) if pairs else known
    built = build(random_base, Variant((0, 1, 2), (0, 1, 4, 5), (0, 1, 3), BOTH))
    recipe = Recipe(distill_logits=0.7, distill_hidden=0.4, distill_temperature=2.0)
    assert cuts((0, 1, 3), 4) == ((1, 2),)
    loss = Distiller(built, own, answers_of(random_base, known, (2,)), recipe, 4)
    part = [4, 1]
    features, batch = packed_batch(built.model, own, part, PAD)
    total, _ = loss(features, batch, part)
    teacher = build(random_base, Variant.full(random_base.shape)).model
    with torch.no_grad(), recorded_outputs(teacher, [2], batch) as taught:
        right = torch.softmax(caption_logits(teacher, features, batch) / 2, -1)  # all 60 tokens are kept: exact
    with torch.no_grad(), recorded_outputs(built.model, [1], batch) as heard:
        logits = caption_logits(built.model, features, batch)
    weights = batch.weights.flatten()[batch.chosen]
    divergence = (right * (right.log() - torch.log_softmax(logits / 2, -1))).sum(-1)
    away = (heard[1] - taught[2]).square().sum(-1) / taught[2].square().sum(-1)
    slow = caption_loss(logits, batch) + ((0.7 * 4 * divergence + 0.4 * away) * weights).sum()
    assert total.item() == pytest.approx(slow.item(), rel=1e-4)


def test_pairs_are_one_caption_each_and_their_loss_is_the_padded_one(random_base: Base) -> None:
    known = data()
    own = in_pairs(known)
    assert len(own.captions) == sum(int(c.weight) for captions in known.captions for c in captions)
    model = build(random_base, Variant.full(random_base.shape)).model
    features, batch = packed_batch(model, own, range(len(own.captions)), PAD)
    found = summed_loss(model, features, batch) / batch.weights.sum()
    assert found.item() == pytest.approx(padded_loss(model, known.features, list(map(list, known.captions))).item())
    ids = np.concatenate([c.ids[1:] for captions in known.captions for c in captions])
    for captions, start in zip(own.captions, own.starts or (), strict=True):
        assert tuple(ids[start : start + len(captions[0].ids) - 1]) == captions[0].ids[1:]
    assert target_starts(known.captions)[-1] == len(ids)


def test_training_minimises_what_the_teacher_adds(random_base: Base) -> None:
    known, recipe = data(), Recipe(lr=1e-2, epochs=30, batch_images=3, distill_hidden=5.0)
    answers = answers_of(random_base, known, (3,))
    variant = Variant((0, 1, 2), (0, 1, 2, 3, 4, 5), (0, 1, 2), BOTH)
    away = []
    for weight in (0.0, 5.0):
        built = build(random_base, variant, 3)
        loss = Distiller(built, known, answers, replace(recipe, distill_hidden=5.0), 4)
        Trainer(built, known, recipe, 0, PAD, losses=loss if weight else None).run(0, 1)
        features, batch = packed_batch(built.model, known, range(6), PAD)
        with torch.no_grad():
            total, caption = loss(features, batch, range(6))
        away.append((total - caption).item())
    assert away[1] < 0.5 * away[0]


@pytest.fixture(scope="module")
def worker() -> WorkerContext:
    whole = read(mini_folder())
    samples = [s for split, n in (("train", 24), ("val", 2), ("test", 2)) for s in whole.split(split)[:n]]
    return WorkerContext(load_base("tiny", torch.device("cpu")), replace(whole, samples=tuple(samples)))


def test_the_teachers_files(worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rsopt.trial.teacher.ROWS", 64)  # rows of a chunk end within an image
    variant = Variant.full(worker.base.shape, LoraSpec(LoraPart(4, 8, "qk")))
    leg = Leg(1, Candidate(variant, Recipe(lr=1e-3, epochs=1, batch_images=8)), 0, 1, 5)
    first = Teacher(leg, worker, tmp_path / "study")
    answers = first.answers([2])
    data = recipe_data(leg, build(worker.base, variant), worker)
    assert answers.ids.shape == (target_starts(data.captions)[-1], TOP)
    # The same teacher, asked beside a student: tuned again, it answers alike.
    built = build(worker.base, variant, 5)
    trainer = trainer_for(leg, built, data, worker)
    trainer.run(0, 1)
    batch = pack(data.captions, built.model.query_tokens.shape[1], 1)
    with torch.no_grad(), recorded_outputs(built.model, [2], batch) as heard:
        log_p, ids = torch.log_softmax(caption_logits(built.model, data.features, batch, data.queried), -1).topk(TOP)
    assert np.abs(answers.log_p - log_p.numpy()).max() < 0.02
    assert (answers.ids == ids.numpy()).mean() > 0.99  # equal but for near ties far down
    assert torch.allclose(answers.hidden[2], heard[2], atol=1e-3)

    # What is there is neither tuned nor asked again; another layer asks the same weights.
    weights = (first.folder / STATE).read_bytes()
    again = Teacher(leg, worker, tmp_path / "study")
    again.answers([2])
    assert "_tuned" not in vars(again)
    again.answers([2, 3])
    assert (first.folder / STATE).read_bytes() == weights
    assert sorted(p.name for p in first.folder.iterdir() if p.suffix != ".lock") == [
        "hidden-2-64.npy",
        "hidden-3-64.npy",
        f"logits-{TOP}-64.npy",
        STATE,
    ]

    # The study's own checkpoint is taken where there is one.
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "other"))
    own = rung_folder(tmp_path / "study", 1, 1.0)
    own.mkdir(parents=True)
    trainer.save(own / STATE)
    monkeypatch.setattr("rsopt.trial.teacher.trainer_for", None)
    taken = Teacher(leg, worker, tmp_path / "study")
    assert np.array_equal(taken.answers([]).ids, answers.ids)
    assert (taken.folder / STATE).read_bytes() == (own / STATE).read_bytes()


def test_a_student_without_a_teacher_is_refused(worker: WorkerContext, tmp_path: Path) -> None:
    variant = Variant.full(worker.base.shape, LoraSpec(LoraPart(4, 8, "qk")))
    leg = Leg(2, Candidate(variant, Recipe(distill_logits=1.0)), 0, 1, 5)
    built = build(worker.base, variant)
    unused: Any = None
    context = TrialContext(leg, worker, tmp_path, unused, unused, unused)
    with pytest.raises(ValueError, match="names no teacher"):
        distillation_losses(context, built, recipe_data(leg, built, worker))
