"""Measures peak resident memory, in bytes, of training and captioning a small random model; runs as a process of its own.

Usage: peak_memory.py '{"config": {...}, "variant": {...}, "load": {...}}'. Everything the libraries allocate once is
allocated by a first round on a model of one layer, and is not counted. Linux only.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.core.inference import Generation
from rsopt.core.recipe import Recipe
from rsopt.core.variant import Dtype, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.memory_plan import TrainingPlan
from rsopt.model.base import DTYPES, Base
from rsopt.model.build import Built, build
from rsopt.model.configs import shape_of
from rsopt.training.dataset import TokenCaption
from rsopt.training.trainer import Trainer, TrainingSet
from tests.support.generation import generate_ids


def resident(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (peak since `reset`), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def reset() -> int:
    """Reset the peak; returns the resident memory now."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def make(config: Blip2Config, dtype: Dtype) -> Base:
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config).eval().requires_grad_(False).to(DTYPES[dtype])
    tokenizer = SimpleNamespace(pad_token_id=1)
    return Base("random", model, SimpleNamespace(tokenizer=tokenizer), shape_of(config), dtype)


def features(base: Base, images: int) -> torch.Tensor:
    vision = base.model.vision_model
    return torch.randn(images, vision.embeddings.num_positions, vision.config.hidden_size, dtype=vision.dtype)


def train(base: Base, built: Built, load: Workload) -> int:
    """Train two steps, the second with optimiser moments; returns the bytes of the data set."""
    rng = np.random.default_rng(0)

    def caption() -> TokenCaption:
        return TokenCaption(tuple(map(int, rng.integers(4, base.model.config.text_config.vocab_size, load.text_tokens))), 1)

    captions = [[caption() for _ in range(load.captions_per_image)] for _ in range(load.batch_images)]
    data = TrainingSet(features(base, load.batch_images), captions)
    recipe = Recipe(epochs=2, batch_images=load.batch_images)
    Trainer(built, data, recipe, 0, pad_id=1, plan=lambda _: TrainingPlan(load.batch_images, load.recompute, 0)).run(0, 1)
    return data.features.nbytes


def caption(base: Base, built: Built, load: Workload) -> None:
    with torch.inference_mode():
        side = base.model.config.vision_config.image_size
        vision_features = built.model.vision_model(
            torch.randn(load.caption_images, 3, side, side, dtype=DTYPES[base.dtype])
        ).last_hidden_state
        generate_ids(built.model, base, vision_features, Generation.of_length(load.text_tokens, load.beams))


def main() -> None:
    torch.set_num_threads(1)
    request = json.loads(sys.argv[1])
    config, load = Blip2Config.from_dict(request["config"]), Workload(**request["load"])
    variant = Variant.from_json(request["variant"])

    small = Blip2Config.from_dict(request["config"])
    for part in (small.vision_config, small.qformer_config, small.text_config):
        part.num_hidden_layers = 1
    first = make(small, load.dtype)
    built = build(first, Variant((0,), (0,), (0,), variant.lora))
    train(first, built, Workload(batch_images=1, captions_per_image=1, text_tokens=4, dtype=load.dtype))
    caption(first, built, Workload(caption_images=1, text_tokens=4, beams=load.beams, dtype=load.dtype))
    del first, built

    start = reset()
    base = make(config, load.dtype)
    peaks = {"weights": resident("VmRSS") - start}
    reset()
    caption(base, build(base, Variant(variant.vision_layers, variant.qformer_layers, variant.llm_layers)), load)
    peaks["captioning"] = resident("VmHWM") - start
    reset()
    data = train(base, build(base, variant), load)
    peaks["training"] = resident("VmHWM") - start - data
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
