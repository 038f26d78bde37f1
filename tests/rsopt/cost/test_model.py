"""Costs: the study's totals, agreement with built models, PEFT and torch's counter, memory as measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.core.variant import TARGETS, LoraPart, LoraSpec, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.model import CostModel
from rsopt.errors import UserError
from rsopt.model.base import Base
from rsopt.model.build import build
from rsopt.model.configs import base_config, shape_of

ROOT = Path(__file__).parents[3]
QK = LoraPart(16, 32, "qk")

# (Q-Former layers, LLM layers): parameters; GMAC in all, ViT-g, Q-Former, LLM with head, at 11 text tokens
STUDY = {
    (12, 32): (3_744_679_936, 380.85, 260.36, 6.37, 114.05),
    (6, 32): (3_692_111_872, 377.66, 260.36, 3.19, 114.05),
    (8, 32): (3_709_634_560, 378.72, 260.36, 4.25, 114.05),
    (12, 24): (3_115_268_096, 353.72, 260.36, 6.37, 86.92),
    (12, 28): (3_429_974_016, 367.28, 260.36, 6.37, 100.49),
    (8, 28): (3_394_928_640, 365.16, 260.36, 4.25, 100.49),
}


@pytest.fixture(scope="module")
def full_size() -> CostModel:
    return CostModel(base_config("opt-2.7b", vocab_size=50272))


def kept(qformer: int, llm: int, lora: LoraSpec | None = None) -> Variant:
    return Variant(tuple(range(39)), tuple(range(qformer)), tuple(range(llm)), lora)


def small(vocabulary: int = 500, layers: int = 5, **llm: int) -> Blip2Config:
    """A BLIP-2 small enough to build, with widths that all differ."""
    width = llm.pop("hidden_size", 64)
    return Blip2Config(
        vision_config={"num_hidden_layers": 3, "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4}
        | {"image_size": 56},
        qformer_config={"num_hidden_layers": 6, "hidden_size": 32, "intermediate_size": 112, "num_attention_heads": 2},
        text_config={"model_type": "opt", "num_hidden_layers": layers, "hidden_size": width, "ffn_dim": 4 * width}
        | {"num_attention_heads": 4, "word_embed_proj_dim": width, "vocab_size": vocabulary, "eos_token_id": 3, **llm},
        num_query_tokens=32,
        image_token_index=vocabulary - 1,
    )


@pytest.fixture(scope="module")
def base() -> Base:
    model = Blip2ForConditionalGeneration(small()).eval().requires_grad_(False)
    return Base("random", model, SimpleNamespace(), shape_of(model.config), "float32")


@pytest.mark.parametrize(("depths", "expected"), STUDY.items(), ids=str)
def test_the_studys_table(full_size: CostModel, depths: tuple[int, int], expected: tuple[float, ...]) -> None:
    found = full_size.cost(kept(*depths))
    assert found.params["total"] == expected[0]
    assert sum(count for part, count in found.params.items() if part != "total") == expected[0]
    gmacs = [found.gmacs[part] for part in ("total", "vision", "qformer", "llm")]
    assert gmacs == pytest.approx(expected[1:], rel=1e-3)
    assert found.gmacs["total"] == pytest.approx(sum(found.gmacs.values()) / 2)


def test_trainable_of_the_study(full_size: CostModel) -> None:
    assert full_size.cost(kept(12, 32, LoraSpec(llm=QK))).trainable == 5_242_880
    assert full_size.cost(kept(12, 32, LoraSpec(llm=QK, qformer=QK))).trainable == 6_189_056
    assert full_size.cost(kept(12, 32)).trainable == 0


def test_hub_vocabulary_adds_its_rows_once(full_size: CostModel) -> None:
    today = CostModel(base_config("opt-2.7b")).cost(kept(12, 32)).params["total"]
    assert today - full_size.cost(kept(12, 32)).params["total"] == 81_920


def test_beams_and_length(full_size: CostModel) -> None:
    long = full_size.cost(kept(12, 32), Workload(text_tokens=50, beams=5)).gmacs
    one = full_size.cost(kept(12, 32), Workload(text_tokens=50)).gmacs
    assert long["llm"] == 5 * one["llm"]
    assert long["vision"] == one["vision"]
    assert long["llm"] / long["total"] == pytest.approx(0.80, abs=0.005)  # as the study's correction says


def test_size_is_parameters_times_bytes(full_size: CostModel) -> None:
    found = full_size.cost(kept(12, 32))
    assert found.size_mb["float32"] == pytest.approx(3_744_679_936 * 4 / 1e6)
    assert found.size_mb["bfloat16"] == found.size_mb["float16"] == found.size_mb["float32"] / 2
    assert "training" not in found.memory_gb  # not trained: absent, not 0
    half = full_size.cost(kept(12, 32), Workload(dtype="float16")).memory_gb["weights"]
    assert half > found.size_mb["float16"] / 1e3  # the Q-Former stays in float32


def test_a_further_variant_is_arithmetic(full_size: CostModel) -> None:
    variant = kept(8, 28, LoraSpec(llm=QK, qformer=QK))
    full_size.cost(variant)
    start = time.perf_counter()
    for _ in range(100):
        full_size.cost(variant)
    assert (time.perf_counter() - start) / 100 < 1e-3


@pytest.mark.parametrize("layers", [((0, 1, 2), (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4)), ((1,), (0, 2), (2, 4))])
def test_parameters_are_those_of_the_built_model(base: Base, layers: tuple[tuple[int, ...], ...]) -> None:
    variant = Variant(*layers)
    model = build(base, variant).model
    found = CostModel(base.model.config).cost(variant).params
    parts = {"vision": model.vision_model, "qformer": model.qformer, "projection": model.language_projection}
    for part, module in {**parts, "llm": model.language_model}.items():
        assert found[part] == sum(p.numel() for p in module.parameters()), part
    assert found["query_tokens"] == model.query_tokens.numel()
    assert found["total"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("scope", ["llm", "qformer", "both"])
def test_trainable_is_what_peft_makes(base: Base, scope: str, targets: str) -> None:
    llm = LoraPart(3, 6, targets) if scope != "qformer" else None
    qformer = LoraPart(5, 6, targets) if scope != "llm" else None
    lora = LoraSpec(llm, qformer, train_projection=scope == "both")
    variant = Variant((0, 2), (0, 1, 4, 5), (0, 1, 3), lora)
    trained = sum(p.numel() for p in build(base, variant).trainable().values())
    assert CostModel(base.model.config).cost(variant).trainable == trained


@pytest.mark.parametrize("layers", [((0, 1, 2), (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4)), ((2,), (2, 3), (0, 3, 4))])
def test_torchs_own_counter_agrees(base: Base, layers: tuple[tuple[int, ...], ...]) -> None:
    variant, text_tokens = Variant(*layers), 11
    model = build(base, variant).model
    model.set_attn_implementation("eager")  # torch does not count the fused kernel of the CPU
    end = torch.randint(4, 400, (1, text_tokens))
    ids = torch.cat([torch.full((1, 32), model.config.image_token_index), end], dim=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixel_values=torch.randn(1, 3, 56, 56), input_ids=ids)
    found = CostModel(base.model.config).cost(variant, Workload(text_tokens=text_tokens)).gmacs
    assert counter.get_total_flops() == round(found["total"] * 2e9)
    model.set_attn_implementation("sdpa")


MEMORY_CASES = {
    "llm qk": (LoraSpec(LoraPart(8, 16, "qk")), Workload(beams=5)),
    "both, dropout, projection": (
        LoraSpec(LoraPart(8, 16, "all_linear"), LoraPart(4, 8, "qkvo"), dropout=0.05, train_projection=True),
        Workload(beams=2, captions_per_image=3),
    ),
    "recomputed": (LoraSpec(LoraPart(8, 16, "all_linear")), Workload(beams=2, recompute=True)),
}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to forget a peak")
@pytest.mark.parametrize("case", MEMORY_CASES)
def test_predicted_memory_is_what_is_measured(case: str) -> None:
    lora, load = MEMORY_CASES[case]
    config = small(vocabulary=2000, hidden_size=256, layers=6)
    model = CostModel(config)
    variant = Variant.full(model.shape, lora)
    given = json.dumps({"config": config.to_dict(), "variant": variant.to_json(), "load": asdict(load)})
    # Fixed thresholds: freed tensors go back to the system at once, so that resident memory is what tensors hold.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.peak_memory", given],
        env={**os.environ, **malloc, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    measured, predicted = json.loads(run.stdout.splitlines()[-1]), model.cost(variant, load).memory_gb
    for what in ("weights", "captioning", "training"):
        assert predicted[what] * 1e9 == pytest.approx(measured[what], rel=0.15), what
    beside = measured["training"] - measured["weights"]
    assert (predicted["training"] - predicted["weights"]) * 1e9 == pytest.approx(beside, rel=0.15)


def test_a_layer_beyond_the_base_is_refused(full_size: CostModel) -> None:
    with pytest.raises(UserError, match="layer 32 does not exist"):
        full_size.cost(kept(12, 33))
