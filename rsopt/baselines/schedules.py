"""Stages and learning rates of the baselines' trainings: the papers' settings, and tiny ones that take minutes on one core."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Plan:
    """One stage of a training. In an epoch every training image is seen once, with all its captions.

    `lr` is the highest learning rate, reached after `warmup` steps (at most a fifth of the stage). After that `noam` falls with
    the inverse square root of the steps, `cosine` falls to the share `end` of `lr`, `flat` stays.
    """

    name: str
    epochs: float
    batch_images: int
    lr: float
    warmup: int = 0
    schedule: Literal["noam", "cosine", "flat"] = "flat"
    end: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def steps(self, images: int) -> int:
        """Steps of the stage on a training split of `images` images."""
        return max(1, round(self.epochs * math.ceil(images / self.batch_images)))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of `steps`."""
        warmup = min(self.warmup, steps // 5)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if self.schedule == "noam":
            return self.lr * math.sqrt(max(1, warmup) / (step + 1))
        if self.schedule == "cosine":
            share = (step - warmup) / max(1, steps - warmup)
            return self.lr * (self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * share)))
        return self.lr


def plans(name: str, tiny: bool) -> tuple[Plan, ...]:
    """The stages of a baseline, in order."""
    if name == "bita":
        return _BITA_TINY if tiny else _BITA
    stages = _PURET_TINY if tiny else _PURET
    return stages[:1] if name == "puret_xe" else stages


# 2203.15350. Noam's rate at width 512 and 10,000 steps of warm-up peaks at (512 * 10,000) ** -0.5.
_PURET = (
    Plan("cross_entropy", 20, 10, (512 * 10_000) ** -0.5, 10_000, "noam", betas=(0.9, 0.98)),
    Plan("self_critical", 30, 10, 5e-6),
)
_PURET_TINY = (
    replace(_PURET[0], epochs=15, batch_images=16, lr=1e-3, warmup=100),
    replace(_PURET[1], epochs=6, batch_images=16, lr=1e-4),
)
# 2312.01191
_BITA = (
    Plan("contrast", 5, 96, 1e-4, 5_000, "cosine", 0.1, weight_decay=0.05),
    Plan("prefix", 5, 48, 1e-4, 2_000, "cosine", 0.1, weight_decay=0.05),
    Plan("finetune", 50, 48, 1e-5, 1_000, "cosine", weight_decay=0.05),
)
_BITA_TINY = (
    replace(_BITA[0], epochs=8, batch_images=32, lr=1e-3),
    replace(_BITA[1], epochs=6, batch_images=16, lr=1e-3),
    replace(_BITA[2], epochs=6, batch_images=16, lr=1e-3),
)
