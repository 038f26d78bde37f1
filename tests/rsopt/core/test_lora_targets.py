"""One table of LoRA targets: patterns, counts and predictions of memory all follow from it."""

from __future__ import annotations

import pytest

from rsopt.core.lora_targets import LORA_TARGETS, adapted_modules
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.model import CostModel
from rsopt.model.base import Base
from rsopt.model.build import build, merged


@pytest.mark.parametrize(
    ("component", "counts"),
    [
        ("llm", {"qk": 2, "qkv": 3, "qkvo": 4, "mlp": 2, "all_linear": 6}),
        ("qformer", {"qk": 4, "qkv": 6, "qkvo": 8, "mlp": 2, "all_linear": 10}),
    ],
)
def test_so_many_modules_of_a_layer_are_adapted(component: str, counts: dict[str, int]) -> None:
    assert {target: len(set(adapted_modules(component, target))) for target in LORA_TARGETS} == counts


def test_another_target_is_one_edit(random_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LORA_TARGETS, "value_and_down", frozenset({"value", "down"}))
    part = LoraPart(3, 6, "value_and_down")
    variant = Variant((0, 1, 2), (0, 1, 4, 5), (0, 2, 3), LoraSpec(part, part))
    built, costs = build(random_base, variant), CostModel(random_base.model.config)
    assert costs.trainable(variant) == sum(p.numel() for p in built.trainable().values())
    own = {p.data_ptr() for p in random_base.model.parameters()}
    copied = sum(p.nbytes for p in merged(built).parameters() if p.data_ptr() not in own)
    assert costs.merged_bytes(variant, "float32") == copied

    def training(target: str) -> float:
        lora = LoraSpec(LoraPart(3, 6, target), LoraPart(3, 6, target))
        variant = Variant((0, 1, 2), (0, 1, 4, 5), (0, 2, 3), lora)
        return costs.cost(variant, Workload()).memory_gb["training"]

    assert training("value_and_down") < training("all_linear")
