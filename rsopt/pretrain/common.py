"""Shared by the stages of pretraining: budget, batches, learning rate, optimiser step, and random omission of layers."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Blip2ForConditionalGeneration
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

Progress = Callable[[str], None]


def report(started: float, text: str) -> None:
    """Writes a line of progress with the seconds since `started` (time.time())."""
    sys.stdout.write(f"{time.time() - started:7.1f} s  {text}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Budget:
    """Numbers of pictures, sentences and steps, and batch sizes."""

    crowds: int = 8000
    pictures: int = 12000
    sentences: int = 60000
    look_steps: int = 3500
    see_steps: int = 1600
    read_steps: int = 1300
    tell_steps: int = 1800
    batch: int = 32  # pictures a step: for the same pictures, many small steps learn more than few large ones
    rows: int = 16  # text rows of 96 tokens a step of `read`

    def scaled(self, scale: float) -> Budget:
        """A budget with the given share of pictures, sentences and steps."""

        def part(count: int) -> int:
            return max(4, round(count * scale))

        scaled = {name: part(getattr(self, name)) for name in ("crowds", "pictures", "sentences")}
        scaled |= {f"{stage}_steps": part(getattr(self, f"{stage}_steps")) for stage in ("look", "see", "read", "tell")}
        return replace(self, **scaled)


def as_input(pixels: np.ndarray) -> Tensor:
    """Converts (B, 64, 64, 3) uint8 to (B, 3, 64, 64) floats, as the processor does."""
    mean, std = torch.tensor(OPENAI_CLIP_MEAN), torch.tensor(OPENAI_CLIP_STD)
    return ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def schedule_of(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over 4 % of the steps, then a cosine down to 3 %."""
    warmup = max(1, steps // 25)

    def share(step: int) -> float:
        rest = (step - warmup) / max(1, steps - warmup)
        return (step + 1) / warmup if step < warmup else 0.03 + 0.97 * (1 + math.cos(math.pi * min(1.0, rest))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def take_step(loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> None:
    """One step of the optimiser, with clipped gradients."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Index batches, epoch after epoch, for `steps` steps."""
    left = np.array([], dtype=np.int64)
    for _ in range(steps):
        while len(left) < batch:
            left = np.concatenate([left, rng.permutation(count)])
        head, left = left[:batch], left[batch:]
        yield head


@contextmanager
def without_random_layers(model: Blip2ForConditionalGeneration, rng: Random, llm: float, qformer: float) -> Iterator[None]:
    """Within the block, omits LLM layers with probability `llm` and Q-Former pairs with `qformer`; one of each stays."""
    decoder, encoder = model.language_model.model.decoder, model.qformer.encoder
    layers, blocks, depth = decoder.layers, encoder.layer, encoder.config.num_hidden_layers
    every = encoder.config.cross_attention_frequency
    remaining = [layer for layer in layers if rng.random() >= llm] or [layers[0]]
    pairs = [i for i in range(0, depth, every) if rng.random() >= qformer] or [0]
    try:
        decoder.layers = nn.ModuleList(remaining)
        encoder.layer = nn.ModuleList([blocks[i + j] for i in pairs for j in range(every)])
        encoder.config.num_hidden_layers = every * len(pairs)
        yield
    finally:
        decoder.layers, encoder.layer, encoder.config.num_hidden_layers = layers, blocks, depth


def queried(model: Blip2ForConditionalGeneration, seen: Tensor) -> Tensor:
    """Q-Former outputs (B, Q, D) for vision outputs (B, 1+P, D)."""
    tokens = model.query_tokens.expand(len(seen), -1, -1)
    return model.qformer(query_embeds=tokens, encoder_hidden_states=seen).last_hidden_state
