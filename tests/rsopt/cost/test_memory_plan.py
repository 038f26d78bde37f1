"""Micro-batches from the memory prediction, throughput from counted work."""

from __future__ import annotations

import time

import torch

from rsopt.core.packed_lengths import RSICD, PackedLengths
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory_plan import USABLE, CardPlan, TrainingPlan, card_plan, free_bytes, training_need, training_plan
from rsopt.cost.model import CostModel
from rsopt.model.base import Base
from rsopt.model.build import build, merged
from rsopt.model.configs import base_config
from rsopt.training.dataset import TokenCaption
from rsopt.training.model_flops import training_flops
from rsopt.training.trainer import Trainer, TrainingSet
from rsopt.trial.stopwatch import Stopwatch

LORA = LoraSpec(LoraPart(4, 8, "all_linear"))


def test_the_plan_is_the_fastest_that_fits(random_base: Base) -> None:
    costs, variant = CostModel(random_base.model.config), Variant.full(random_base.shape, LORA)

    def plan(images: int, free: float) -> tuple[int, bool]:
        found = training_plan(costs, variant, "float32", 20, images, free)
        assert found.need == training_need(costs, variant, "float32", 20, found.images, found.recompute)
        return found.images, found.recompute

    need = {n: training_need(costs, variant, "float32", 20, n) for n in (16, 8, 4, 2, 1)}
    for images, bytes_ in need.items():
        assert plan(16, bytes_ / USABLE + 1) == (images, False)
    assert plan(5, need[2] / USABLE + 1) == (2, False)
    less = training_need(costs, variant, "float32", 20, 1, recompute=True)
    assert less < need[1]
    assert plan(16, less / USABLE + 1) == (1, True)
    assert plan(16, 0) == (1, True), "one image is always tried"


def test_recomputed_activations_are_the_same_step_in_less_memory(random_base: Base) -> None:
    captions = [[TokenCaption((2, 5, 6 + i, 4), 1.0), TokenCaption((2, 7, 4), 3.0)] for i in range(4)]
    features = torch.randn(4, 5, 24, generator=torch.Generator().manual_seed(0))
    lora = LoraSpec(LoraPart(4, 8, "all_linear"), dropout=0.1)
    trained, kept = [], []
    for recompute in (False, True):
        built = build(random_base, Variant.full(random_base.shape, lora), seed=3)
        recipe, plan = Recipe(lr=1e-2, epochs=3, batch_images=4), TrainingPlan(4, recompute, 0)
        trainer = Trainer(built, TrainingSet(features, captions), recipe, 0, 1, plan=lambda _, plan=plan: plan)
        size = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal size
            size += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.run(0, 1)
        assert trainer.recomputed == recompute
        trained.append([p.detach().clone() for p in built.trainable().values()])
        kept.append(size)
        assert all("forward" not in vars(layer) for layer in built.model.language_model.model.decoder.layers)
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True)) and kept[1] < kept[0]


def on_card(base: str, gb: float, targets: str, packed: PackedLengths = RSICD) -> CardPlan:
    costs = CostModel(base_config(base))
    lora = LoraSpec(LoraPart(16, 32, targets), LoraPart(16, 32, targets), train_projection=True)
    return card_plan(costs, Variant.full(costs.shape, lora), "bfloat16", 16, 1e9 * gb, 64, packed)


def test_ordinary_images_decide_the_plan_and_the_longest_whether_there_is_one() -> None:
    plain = on_card("opt-2.7b", 24, "all_linear")
    assert on_card("opt-2.7b", 24, "all_linear", PackedLengths(85, 300)) == plain
    more = on_card("opt-2.7b", 24, "all_linear", PackedLengths(300, 300)).training
    assert more is not None and plain.training is not None and more.images < plain.training.images
    assert on_card("opt-2.7b", 9, "all_linear", PackedLengths(85, 5000)).training is None, "not even one image at a time"


def test_lengths_of_images() -> None:
    assert PackedLengths.of([7]) == PackedLengths(7, 7)
    assert PackedLengths.of([*range(100), 5000]) == PackedLengths(95, 5000)


def test_full_size_on_small_cards() -> None:
    small, middle = on_card("opt-2.7b", 16, "all_linear"), on_card("opt-2.7b", 24, "all_linear")
    assert small.training is not None and (small.training.images, small.training.recompute) == (8, False)
    assert middle.training is not None and (middle.training.images, middle.training.recompute) == (16, False)
    assert 0 < small.caption_images < middle.caption_images
    least = on_card("opt-2.7b", 9, "all_linear").training
    assert least is not None and (least.images, least.recompute) == (2, True)
    too_large = on_card("opt-6.7b", 16, "qk")
    assert too_large.training is None and too_large.weights > 15e9
    # 24 GB train the larger base, but hold no merged copy of all its layers beside it.
    assert on_card("opt-6.7b", 24, "qk").caption_images > 0 and on_card("opt-6.7b", 24, "all_linear").caption_images == 0


def test_merging_copies_what_is_predicted(random_base: Base) -> None:
    for targets in ("qk", "qkv", "qkvo", "mlp", "all_linear"):
        lora = LoraSpec(LoraPart(2, 4, targets), LoraPart(2, 4, targets))
        variant = Variant((0, 1, 2), (0, 1, 4, 5), (0, 2, 3), lora)
        own = {p.data_ptr() for p in random_base.model.parameters()}
        copied = [p for p in merged(build(random_base, variant)).parameters() if p.data_ptr() not in own]
        assert sum(p.nbytes for p in copied) == CostModel(random_base.model.config).merged_bytes(variant, "float32")


def test_there_is_free_memory() -> None:
    assert free_bytes(torch.device("cpu")) > 1e6


def test_training_flops_are_those_of_the_matrix_products(random_base: Base) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    captions = [[TokenCaption((2, 5, 6, 4), 1.0), TokenCaption((2, 7, 4), 3.0)]] * 3
    found = training_flops(built, captions)
    layer = 4 * 32 * 32 + 2 * 32 * 64
    assert found == 4 * (4 * layer * 3 * (5 + 7) + 60 * 32 * 3 * 5)
    assert training_flops(built, captions, 1000) == found + 4 * 3 * 1000


def test_clock_adds_up_and_marks_once() -> None:
    clock = Stopwatch(torch.device("cpu"), time.perf_counter() - 5)
    for _ in range(2):
        with clock.timed("part"):
            time.sleep(0.01)
        clock.mark("first")
    assert 0.02 <= clock.seconds["part"] < 1
    assert 5.01 <= clock.seconds["first"] < 6
