"""Micro-batches from the memory prediction, throughput from counted work."""

from __future__ import annotations

import time

import torch

from rsopt.base import Base
from rsopt.build import build
from rsopt.clock import Clock
from rsopt.cost import CostModel
from rsopt.fit import USABLE, free_bytes, micro_batch, training_need
from rsopt.pack import TokenCaption
from rsopt.speed import training_flops
from rsopt.variant import LoraPart, LoraSpec, Variant

LORA = LoraSpec(LoraPart(4, 8, "all_linear"))


def test_micro_batch_is_the_largest_halving_that_fits(random_base: Base) -> None:
    costs, variant = CostModel(random_base.model.config), Variant.full(random_base.shape, LORA)
    need = {n: training_need(costs, variant, "float32", 20, n) for n in (16, 8, 4, 2, 1)}
    for images, bytes_ in need.items():
        assert micro_batch(costs, variant, "float32", 20, 16, int(bytes_ / USABLE) + 1) == images
    assert micro_batch(costs, variant, "float32", 20, 16, 0) == 1, "one image is always tried"
    assert micro_batch(costs, variant, "float32", 20, 5, int(need[2] / USABLE) + 1) == 2


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
    clock = Clock(torch.device("cpu"), time.perf_counter() - 5)
    for _ in range(2):
        with clock.timed("part"):
            time.sleep(0.01)
        clock.mark("first")
    assert 0.02 <= clock.seconds["part"] < 1
    assert 5.01 <= clock.seconds["first"] < 6
