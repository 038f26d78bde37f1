"""Checks of a base on this device: memory, fast code against plain code, seconds of a trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from rsopt.caption.cuda_graph import CapturedDecoder
from rsopt.caption.decoder_check import captured_is_faster, compare_decoders
from rsopt.caption.decoders import Decode, caption_features, shared_prefix
from rsopt.common.cache import cache_dir
from rsopt.common.disk import free_disk
from rsopt.core.inference import BATCH, Generation
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory_plan import USABLE, TrainingPlan, free_bytes, training_plan
from rsopt.cost.model import CostModel
from rsopt.cost.peak_flops import measured_peak
from rsopt.data.read import read
from rsopt.errors import UserError
from rsopt.gpu_check.captions import CheckCaptions
from rsopt.model.base import Base, best_dtype, load_base
from rsopt.model.build import Built, build, merged
from rsopt.model.configs import base_config
from rsopt.model.random_base import random_base
from rsopt.model.vision_features import SHARE, place
from rsopt.training.fused_lora import compile_layers, fuse
from rsopt.training.losses import packed_batch, packed_loss, padded_loss
from rsopt.training.model_flops import training_flops
from rsopt.training.trainer import Trainer, TrainingSet

TRIALS, RUNGS, CAPTION_TOKENS = 24, 2, 12
LORA = LoraSpec(LoraPart(16, 32, "all_linear"), LoraPart(16, 32, "all_linear"))
LATENCY_RUNS = 220
SHAPES = ("opt-2.7b", "opt-6.7b")  # configurations whose weights are random
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """Result of a check. `good` is None for a measurement, which cannot fail."""

    name: str
    good: bool | None
    text: str


def check(base: Base, captions: CheckCaptions, batch_images: int) -> list[Line]:
    """Run all checks with the images of `captions.some`. Times and sizes are extrapolated to the whole data set."""
    images = len(captions.some)
    built = build(base, Variant.full(base.shape, LORA))
    side = base.model.config.vision_config.image_size
    pictures = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(0))
    vision_s, features = _timed(base, lambda: _features(base, pictures))
    data = TrainingSet(features, captions.some)
    lines = _fits(base, built, features, captions, batch_images)
    lines += _equal(base, built, data)
    trainer = _trainer(base, data, batch_images)
    return lines + _costs(base, trainer, features, vision_s / images, captions)


def _fits(base: Base, built: Built, features: torch.Tensor, captions: CheckCaptions, batch_images: int) -> list[Line]:
    """Whether a training step, the file of the features and a study's checkpoints fit."""
    free, plan_of = free_bytes(base.device), _plans(built, base, batch_images)
    plan, longest = plan_of(captions.packed.ordinary), plan_of(captions.packed.longest)
    again = ", activations recomputed" if plan.recompute else ""
    file_bytes = features[0].nbytes * captions.images
    disk = free_disk(cache_dir())
    trainable = sum(p.numel() for p in built.trainable().values())
    study, here = 12 * trainable * TRIALS * RUNGS, free_disk(Path.cwd())
    resident = "kept in the GPU's memory" if base.device.type == "cuda" and file_bytes <= SHARE * free else "memory-mapped"
    weights = sum(p.nbytes for p in base.model.parameters())
    return [
        Line("weights", True, f"{weights / 1e9:.2f} GB in {base.dtype}, loaded"),
        Line(
            "training fits",
            max(plan.need, longest.need) <= USABLE * free,
            f"{plan.need / 1e9:.2f} GB predicted for {plan.images} of {batch_images} images at once{again}, "
            f"{free / 1e9:.1f} GB free; {captions.packed.ordinary} caption tokens an image ({captions.whose}), "
            f"at most {captions.packed.longest}",
        ),
        Line(
            "features fit",
            file_bytes < disk,
            f"{file_bytes / 1e9:.2f} GB for {captions.images:,} images in {cache_dir()}, {disk / 1e9:.0f} GB free; {resident}",
        ),
        Line(
            "checkpoints fit",
            study < here,
            f"{study / 1e9:.2f} GB for {TRIALS} candidates at {RUNGS} rungs, {here / 1e9:.0f} GB free here",
        ),
    ]


def _equal(base: Base, built: Built, data: TrainingSet) -> list[Line]:
    """Whether packed loss equals padded loss, fused LoRA equals PEFT's, and our decoder equals transformers'."""
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 5e-3}[base.dtype]
    chosen = range(min(8, len(data.captions)))
    with torch.no_grad():
        for parameter in built.trainable().values():  # a new adapter is zero, which would hide errors
            parameter.add_(torch.randn_like(parameter) * 0.01)
        features, batch = packed_batch(built.model, data, chosen, base.tokenizer.pad_token_id)
        plain = packed_loss(built.model, features, batch).item()
        padded = padded_loss(built, data, chosen)
        fuse(built.model)
        fused = packed_loss(built.model, features, batch).item()
    agreement = compare_decoders(merged(built), base, data.features[:20], Generation(max_new_tokens=20))
    worst = f"{max(0.0, agreement.worst):.1e} nats a token (at most {agreement.tolerance:g})"
    gap = "" if agreement.same == agreement.images else f", the others are worse by up to {worst}"
    return [
        Line("packed = padded loss", _near(plain, padded, tolerance), f"{plain:.6f} and {padded:.6f}"),
        Line("fused = PEFT's LoRA", _near(plain, fused, tolerance), f"{plain:.6f} and {fused:.6f}"),
        Line("our beam search = transformers'", agreement.good, f"{agreement.same} of {agreement.images} captions the same{gap}"),
    ]


def _costs(base: Base, trainer: Trainer, features: torch.Tensor, vision_s: float, captions: CheckCaptions) -> list[Line]:
    """Times measured here, and the time of a trial on the whole data set that follows from them."""
    device, recipe = base.device, trainer.recipe
    order = list(range(len(trainer.data.captions)))[: recipe.batch_images]
    first_s, _ = _timed(base, lambda: trainer.step(0, order))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step_s = min(_timed(base, lambda: trainer.step(1, order))[0] for _ in range(4))
    plain = merged(trainer.built)

    def caption(count: int, decode: Decode) -> float:
        def call() -> list[str]:
            return caption_features(plain, base, features[:count], Generation(max_new_tokens=CAPTION_TOKENS), decode=decode)

        call()
        return _timed(base, call)[0]

    captured = device.type == "cuda" and captured_is_faster(plain, base, features[: BATCH[device.type]])
    many = min(BATCH[device.type], len(features))
    one_s = caption(1, shared_prefix)  # latencies are taken step by step
    many_s = caption(many, CapturedDecoder(eager=0) if captured else shared_prefix) / many
    train_s, val = captions.train / len(order) * step_s, captions.val
    trial_s = train_s + val * many_s + LATENCY_RUNS * one_s
    lines = [
        Line("first step", None, f"{first_s:.2f} s, then {step_s:.3f} s for {len(order)} images"),
        Line("captions", None, f"{1e3 * many_s:.1f} ms an image in batches, {1e3 * one_s:.1f} ms alone"),
        Line("features, once", None, f"{captions.images * vision_s / 60:.1f} min for {captions.images:,} images with one worker"),
        Line(
            "a trial of one epoch",
            None,
            f"about {trial_s / 60:.1f} min: training {train_s / 60:.1f}, captions {val * many_s / 60:.1f}, "
            f"a new architecture's latency {LATENCY_RUNS * one_s / 60:.1f}",
        ),
    ]
    if device.type == "cuda":
        peak = measured_peak(device, trainer.built.model.language_model.dtype)
        flops = training_flops(trainer.built, [trainer.data.captions[i] for i in order])
        used = torch.cuda.max_memory_allocated(device) / 1e9  # read before anything is compiled
        lines.append(Line("training MFU", None, f"{100 * flops / step_s / peak:.0f} % of {peak / 1e12:.0f} TFLOP/s"))
        how = "captured" if captured else "launched kernel by kernel: capturing does not work or does not pay here"
        lines.append(Line("decode steps", None, how))
        lines.append(_compiled(base, trainer, order, step_s))
        lines.append(Line("peak memory", None, f"{used:.2f} GB in training, weights and features included"))
    return lines


def _compiled(base: Base, trainer: Trainer, order: list[int], step_s: float) -> Line:
    """After how many steps compiling the LLM's layers pays."""
    compile_layers(trainer.built.model.language_model)
    first_s, _ = _timed(base, lambda: trainer.step(2, order))
    compiled_s = min(_timed(base, lambda: trainer.step(3, order))[0] for _ in range(4))
    gain = step_s - compiled_s
    pays = f"pays after {first_s / gain:.0f} steps" if gain > 0 else "does not pay"
    return Line("compiled layers", None, f"{compiled_s:.3f} s a step after {first_s:.0f} s: {pays}")


def _plans(built: Built, base: Base, batch_images: int) -> Callable[[int], TrainingPlan]:
    """How a step with so many images is trained in the memory that is free now, by the tokens of the longest image."""
    costs, free = CostModel(base.model.config), free_bytes(base.device)
    return lambda tokens: training_plan(costs, built.variant, base.dtype, tokens, batch_images, free)


def _trainer(base: Base, data: TrainingSet, batch_images: int) -> Trainer:
    built = build(base, Variant.full(base.shape, LORA))
    placed = TrainingSet(place(data.features, base.device), data.captions)
    recipe, plan = Recipe(batch_images=batch_images), _plans(built, base, batch_images)
    return Trainer(built, placed, recipe, 0, base.tokenizer.pad_token_id, plan)


@torch.no_grad()
def _features(base: Base, pictures: torch.Tensor) -> torch.Tensor:
    vision = base.model.vision_model
    return torch.cat([vision(p.to(base.device, vision.dtype)).last_hidden_state for p in pictures.split(16)])


def _timed(base: Base, call: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = call()
    if base.device.type == "cuda":
        torch.cuda.synchronize(base.device)
    return time.perf_counter() - begin, result


def _near(a: float, b: float, relative: float) -> bool:
    return abs(a - b) <= relative * abs(b)


def check_base(
    name: str | None, images: int, batch_images: int, cpu: bool, data: str | None = None, skip_bad: bool = False
) -> tuple[Base, list[Line]]:
    """Load a base and check it. Raises UserError where there is no GPU, unless `cpu`, no such base, or no such data.

    Args:
        name: The base; by default tiny on a CPU, else OPT-2.7b's shapes.
        images: Images measured.
        batch_images: Images of a training step.
        cpu: Run on the CPU.
        data: Data set whose captions are taken; by default random ones.
        skip_bad: Leave out its broken images and rows.
    """
    if not cpu and not torch.cuda.is_available():
        raise UserError("no GPU here: torch sees none (--cpu runs the checks on the CPU)")
    captions = None if data is None else read(data, skip_bad=skip_bad)
    device = torch.device("cpu" if cpu else "cuda")
    name = name or ("tiny" if cpu else "opt-2.7b")
    made_up = name in SHAPES
    base = random_base(name, base_config(name), device, best_dtype(device)) if made_up else load_base(name, device)
    counted = CheckCaptions.random(base, images) if captions is None else CheckCaptions.of(base, images, captions, name)
    return base, check(base, counted, batch_images)
