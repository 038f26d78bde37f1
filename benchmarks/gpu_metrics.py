"""GPU figures of a trial: model FLOP utilisation, decode step against the time to read the weights, memory against prediction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.trial_inputs import TrialInputs, features_of
from rsopt.caption.cuda_graph import CapturedDecoder
from rsopt.caption.decoders import Decode, prompt, shared_prefix
from rsopt.core.inference import Generation
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraSpec, Variant
from rsopt.cost.memory import Widths, Workload, training_bytes
from rsopt.cost.peak_flops import measured_peak
from rsopt.model.base import DTYPES
from rsopt.model.build import build, merged
from rsopt.training.model_flops import training_flops
from rsopt.training.trainer import Trainer, TrainingSet


def gpu_facts(inputs: TrialInputs, lora: LoraSpec, recipe: Recipe, trial: Mapping[str, Any]) -> list[str]:
    """Lines for the report; `trial` holds the measurements of the whole trials."""
    base = inputs.base
    built = build(base, Variant.full(base.shape, lora))
    train_s = min(s["train"] for s in trial["ours_s"])
    peak = measured_peak(base.device, DTYPES[base.dtype])
    mfu = training_flops(built, inputs.captions) * recipe.epochs / train_s / peak
    used, predicted = training_memory(inputs, lora, recipe)
    step_ms, read_ms = decode_step(inputs, CapturedDecoder() if trial["captured"] else shared_prefix)
    how = "captured" if trial["captured"] else "launched kernel by kernel"
    return [
        f"training MFU (without the Q-Former's work): {100 * mfu:.1f} % of {peak / 1e12:.0f} TFLOP/s measured",
        f"evaluation with 5 beams: {min(s['caption'] for s in trial['ours_s']):.2f} s for {trial['captions']} images",
        f"decode step, batch 1, 5 beams: {step_ms:.2f} ms {how}; reading the weights takes {read_ms:.2f} ms "
        f"({step_ms / read_ms:.2f} x)",
        f"peak training memory beside the weights: {used / 1e9:.2f} GB, predicted {predicted / 1e9:.2f} GB",
    ]


def training_memory(inputs: TrialInputs, lora: LoraSpec, recipe: Recipe) -> tuple[int, int]:
    """Bytes that four training steps take beside weights and features, and the prediction for the longest batch."""
    base = inputs.base
    features = features_of(inputs)[: inputs.train]
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    built = build(base, Variant.full(base.shape, lora))
    trainer = Trainer(built, TrainingSet(features, inputs.captions), recipe, 0, base.tokenizer.pad_token_id)
    longest = sorted(range(inputs.train), key=lambda i: trainer.lengths[i])[-recipe.batch_images :]
    for step in range(4):
        trainer.step(step, longest)
    torch.cuda.synchronize()
    used = torch.cuda.max_memory_allocated() - before
    load = Workload(text_tokens=max(trainer.lengths), captions_per_image=1, batch_images=recipe.batch_images, dtype=base.dtype)
    widths = Widths.of(base.model.config, features.shape[1])
    trainable = sum(p.numel() for p in built.trainable().values())
    return used, training_bytes(widths, built.variant, trainable, load)


@torch.inference_mode()
def decode_step(inputs: TrialInputs, decode: Decode, short: int = 10, long: int = 40, runs: int = 5) -> tuple[float, float]:
    """Milliseconds of one decode step (batch 1, 5 beams), and of reading the LLM's weights once at copy speed.

    Args:
        inputs: the trial's data.
        decode: the decoder.
        short: new tokens of the shorter caption.
        long: new tokens of the longer one; the difference of their times gives the time of a step.
        runs: of each length; the fastest counts.
    """
    base = inputs.base
    model = merged(build(base, Variant.full(base.shape)))
    prefix = prompt(model, base, features_of(inputs)[:1])

    fastest = []
    for tokens in (short, long):
        times = []
        for _ in range(runs + 2):  # the first two warm up, or capture
            begin = time.perf_counter()
            decode(model, base, prefix, Generation.of_length(tokens))
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        fastest.append(min(times))
    weights = sum(p.nbytes for p in model.language_model.parameters())
    block = torch.empty(2**30, dtype=torch.uint8, device=base.device)
    copy = torch.empty_like(block)
    copy.copy_(block)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(10):
        copy.copy_(block)
    torch.cuda.synchronize()
    speed = 10 * 2 * 2**30 / (time.perf_counter() - begin)  # read and written
    return 1e3 * (fastest[1] - fastest[0]) / (long - short), 1e3 * weights / speed
