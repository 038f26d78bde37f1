"""Training steps: the fast ones are the plain ones, legs join without a seam, memory that ends costs time and not the trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rsopt.core.recipe import Recipe
from rsopt.core.variant import Dtype, LoraPart, LoraSpec, Variant
from rsopt.cost.memory_plan import TrainingPlan
from rsopt.model.base import DTYPES, Base
from rsopt.model.build import Built, build, merged
from rsopt.model.prefix import qformer_outputs
from rsopt.training import trainer as module
from rsopt.training.dataset import pack
from rsopt.training.fused_lora import compile_layers, fuse
from rsopt.training.losses import packed_loss, validation_loss
from rsopt.training.trainer import Trainer, TrainingSet
from tests.support.token_captions import random_captions

BOTH = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(3, 6, "all_linear"))
RECIPE = Recipe(lr=1e-2, epochs=2, batch_images=4)


def data(dtype: torch.dtype = torch.float32) -> TrainingSet:
    features = torch.randn(10, 5, 24, generator=torch.Generator().manual_seed(1)).to(dtype)
    return TrainingSet(features, random_captions(2, images=10))


def cast(base: Base, dtype: Dtype) -> Base:
    return replace(base, model=base.model.to(DTYPES[dtype]), dtype=dtype)


def disturb(built: Built) -> Built:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in built.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return built


def weights(built: Built) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten() for p in built.trainable().values()])


@pytest.mark.parametrize("lora", [BOTH, replace(BOTH, rslora=True), LoraSpec(LoraPart(4, 8, "qk"))])
def test_fused_lora_is_pefts(random_base: Base, lora: LoraSpec) -> None:
    built = disturb(build(random_base, Variant((0, 2), (0, 1, 4, 5), (0, 1, 3), lora)))
    batch, features = pack(data().captions, 5, 1), data().features
    found = []
    for fused in (False, True):
        count = fuse(built.model) if fused else 0
        loss = packed_loss(built.model, features, batch)
        found.append((loss.item(), torch.autograd.grad(loss, list(built.trainable().values()))))
    assert count == len(built.trainable()) / 2
    (a, grads_a), (b, grads_b) = found
    assert a == pytest.approx(b, rel=1e-6)
    for g, h in zip(grads_a, grads_b, strict=True):
        assert (g - h).norm() <= 1e-5 * g.norm() + 1e-9


def test_a_fused_model_merges_as_before(random_base: Base) -> None:
    built = disturb(build(random_base, Variant.full(random_base.shape, BOTH)))
    batch, features = pack(data().captions, 5, 1), data().features
    fuse(built.model)
    plain = merged(built)
    assert packed_loss(plain, features, batch).item() == pytest.approx(packed_loss(built.model, features, batch).item(), rel=1e-5)


def test_lora_with_dropout_is_left_to_peft(random_base: Base) -> None:
    assert fuse(build(random_base, Variant.full(random_base.shape, replace(BOTH, dropout=0.1))).model) == 0


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("lora", [BOTH, replace(BOTH, dropout=0.2), replace(BOTH, train_projection=True)])
def test_legs_join_without_a_seam(random_base: Base, lora: LoraSpec, fused: bool, tmp_path: Path) -> None:
    variant = Variant.full(random_base.shape, lora)

    def trainer() -> Trainer:
        return Trainer(build(random_base, variant, 7), data(), RECIPE, 5, 1, fused=fused)

    whole = trainer()
    assert whole.run(0, 1).steps == 6
    first = trainer()
    first.run(0, 0.33)
    first.save(tmp_path / "state.safetensors")
    second = trainer()
    second.load(tmp_path / "state.safetensors")
    second.run(0.33, 1)
    assert torch.equal(weights(whole.built), weights(second.built))


def test_another_candidates_state_is_refused(random_base: Base, tmp_path: Path) -> None:
    Trainer(build(random_base, Variant.full(random_base.shape, BOTH)), data(), RECIPE, 0, 1).save(tmp_path / "s")
    other = build(random_base, Variant((0,), (0, 1), (0, 1), BOTH))
    with pytest.raises(ValueError, match="not this candidate's adapter"):
        Trainer(other, data(), RECIPE, 0, 1).load(tmp_path / "s")


@pytest.mark.parametrize("micro", [1, 3])
def test_micro_batches_add_up_to_the_batch(random_base: Base, micro: int) -> None:
    found = []
    for plan in (None, lambda _: TrainingPlan(micro, False, 0)):
        built = build(random_base, Variant.full(random_base.shape, BOTH), 7)
        result = Trainer(built, data(), RECIPE, 0, 1, plan=plan).run(0, 1)
        found.append((result.loss, weights(built)))
    (a, x), (b, y) = found
    assert a == pytest.approx(b, rel=1e-5)
    assert torch.allclose(x, y, atol=2e-4)


def out_of_memory_above(images: int) -> Callable[..., torch.Tensor]:
    real = module.summed_loss

    def loss(model: object, features: torch.Tensor, *rest: object) -> torch.Tensor:
        if len(features) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return real(model, features, *rest)  # type: ignore[arg-type]

    return loss


def test_micro_batches_are_halved_when_memory_ends(random_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build(random_base, Variant.full(random_base.shape, BOTH), 7)
    Trainer(plain, data(), RECIPE, 0, 1).run(0, 1)
    monkeypatch.setattr(module, "summed_loss", out_of_memory_above(1))
    built = build(random_base, Variant.full(random_base.shape, BOTH), 7)
    result = Trainer(built, data(), RECIPE, 0, 1).run(0, 1)
    assert result.micro_images == 1
    assert torch.allclose(weights(built), weights(plain), atol=2e-4), "a failed attempt leaves no gradient behind"


def test_out_of_memory_at_one_image_is_raised(random_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "summed_loss", out_of_memory_above(0))
    trainer = Trainer(build(random_base, Variant.full(random_base.shape, BOTH)), data(), RECIPE, 0, 1)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.run(0, 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_float32_adapters(random_base: Base, dtype: Dtype) -> None:
    full = build(random_base, Variant.full(random_base.shape, BOTH), 7)
    expected = Trainer(full, data(), RECIPE, 0, 1).run(0, 1).loss
    base = cast(random_base, dtype)
    built = build(base, Variant.full(base.shape, replace(BOTH, train_projection=True)), 7)
    trainer = Trainer(built, data(DTYPES[dtype]), RECIPE, 0, 1)
    before = weights(built)
    assert trainer.run(0, 1).loss == pytest.approx(expected, rel=0.05)
    assert trainer.stepper.scaler.is_enabled() == (dtype == "float16")
    kinds = {name: p.dtype for name, p in built.trainable().items()}
    assert {k for n, k in kinds.items() if "lora" in n} == {torch.float32}
    assert {k for n, k in kinds.items() if "projection" in n} == {DTYPES[dtype]}, "as the base holds it"
    assert all((weights(built) != before).split([p.numel() for p in built.trainable().values()])[0].tolist())


def test_a_float16_step_that_overflows_is_left_out(random_base: Base) -> None:
    base = cast(random_base, "float16")
    built = build(base, Variant.full(base.shape, BOTH), 7)
    trainer = Trainer(built, data(torch.float16), replace(RECIPE, warmup_share=0), 0, 1)
    trainer.run(0, 0.17)
    scale, before = trainer.stepper.scaler.get_scale(), weights(built)
    trainer.stepper.scaler.update(2.0**40)  # the loss itself becomes infinite
    trainer.step(1, [0, 1])
    assert torch.equal(weights(built), before)
    assert trainer.stepper.scaler.get_scale() == 2.0**39 > scale


def test_a_frozen_qformers_outputs_stand_for_its_images(random_base: Base) -> None:
    variant = Variant.full(random_base.shape, LoraSpec(LoraPart(4, 8, "all_linear"), train_projection=True))
    live, kept = (build(random_base, variant, 7) for _ in range(2))
    own = data()
    with torch.no_grad():
        outputs = qformer_outputs(kept.model, own.features)
    a = Trainer(live, own, RECIPE, 0, 1).run(0, 1)
    b = Trainer(kept, TrainingSet(outputs, own.captions, queried=True), RECIPE, 0, 1).run(0, 1)
    assert a.loss == pytest.approx(b.loss, rel=1e-5)
    assert (a.images, a.tokens) == (b.images, b.tokens) == (20, 2 * sum(len(c.ids) - 1 for o in own.captions for c in o))


def test_validation_loss_is_the_packed_loss(random_base: Base) -> None:
    own = data()
    expected = packed_loss(random_base.model, own.features, pack(own.captions, 5, 1)).item()
    assert validation_loss(random_base.model, own, 1, batch_images=3) == pytest.approx(expected, rel=1e-5)


def test_one_compiled_layer_serves_all(random_base: Base) -> None:
    from torch._dynamo.utils import counters

    built = disturb(build(random_base, Variant.full(random_base.shape, BOTH)))
    fuse(built.model)
    own = data()
    expected = packed_loss(built.model, own.features, pack(own.captions, 5, 1)).item()
    torch._dynamo.reset()
    counters.clear()
    compile_layers(built.model.language_model, backend="aot_eager")
    for images in (10, 7, 3):
        loss = packed_loss(built.model, own.features[:images], pack(own.captions[:images], 5, 1))
        if images == 10:
            assert loss.item() == pytest.approx(expected, rel=1e-5)
        loss.backward()
    assert counters["stats"]["unique_graphs"] <= 2, "four layers and three lengths; the first layer may differ"
    torch._dynamo.reset()
