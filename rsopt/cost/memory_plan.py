"""How training and captioning fit into memory: the closed-form prediction against what is free now, or what a card has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from rsopt.core.inference import BEAMS, MAX_NEW_TOKENS
from rsopt.core.variant import Dtype, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.model import CostModel

USABLE = 0.85  # of what is free: allocators leave gaps, and other workers of the device need theirs
CONTEXT = 0.7e9  # bytes of a card that CUDA and its libraries take for each process
LONGEST = 85  # caption tokens behind one image, where no data is at hand: five captions of RSICD's 95th percentile


def free_bytes(device: torch.device) -> int:
    """Bytes that a process can still take on `device`, its own allocator's reserve included.

    A share set by torch.cuda.set_per_process_memory_fraction counts: a card can so stand in for a smaller one.
    """
    if device.type != "cuda":
        return psutil.virtual_memory().available
    free, total = torch.cuda.mem_get_info(device)
    allowed = int(total * torch.cuda.get_per_process_memory_fraction(device)) - torch.cuda.memory_reserved(device)
    return min(free, allowed) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How a training step fits: images a forward pass, and whether the LLM's activations are recomputed."""

    images: int
    recompute: bool
    need: float  # predicted peak bytes beside the weights


def training_plan(
    costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int, free: float
) -> TrainingPlan:
    """The fastest way to train that is predicted to fit `free` bytes; where none is, the one that takes least.

    First fewer images at once, halved from `images` (gradients are summed: the same step); where one alone does not fit,
    activations are recomputed too, for a third more compute. `longest` is the most caption tokens packed behind one image.
    The weights are there already.
    """
    plan = TrainingPlan(1, True, 0.0)
    for recompute in (False, True):
        for count in halved(images):
            plan = TrainingPlan(count, recompute, training_need(costs, variant, dtype, longest, count, recompute))
            if plan.need <= USABLE * free:
                return plan
    return plan


def halved(images: int) -> Sequence[int]:
    """`images`, half of them, ..., 1."""
    counts = [images]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // 2))
    return counts


def training_need(
    costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int, recompute: bool = False
) -> float:
    """Predicted peak bytes of a training step beside the weights."""
    load = Workload(text_tokens=longest, captions_per_image=1, batch_images=images, dtype=dtype, recompute=recompute)
    memory = costs.cost(variant, load).memory_gb
    return 1e9 * (memory["training"] - memory["weights"])


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What a card of so many bytes can do with a variant. `training` is None where not even one image fits."""

    weights: float
    merged: float  # copies of the adapted weights, for captioning and export
    training: TrainingPlan | None
    caption_images: int  # at once; 0 where not even one fits

    @property
    def least(self) -> float:
        """Bytes without which nothing works, the smallest step apart."""
        return CONTEXT + self.weights + self.merged


def card_plan(costs: CostModel, variant: Variant, dtype: Dtype, images: int, card: float, captions: int) -> CardPlan:
    """Training of `variant` by `images` a step and captioning of `captions` images at once, on a card of `card` bytes."""
    weights = 1e9 * costs.cost(variant, Workload(dtype=dtype)).memory_gb["weights"]
    merged = costs.merged_bytes(variant, dtype)
    free = card - CONTEXT - weights
    plan = training_plan(costs, variant, dtype, LONGEST, images, free)

    def captioning(count: int) -> float:
        load = Workload(caption_images=count, beams=BEAMS, text_tokens=MAX_NEW_TOKENS, dtype=dtype)
        return 1e9 * costs.cost(variant, load).memory_gb["captioning"] - weights

    fitting = (count for count in halved(captions) if captioning(count) <= USABLE * (free - merged))
    return CardPlan(weights, merged, plan if plan.need <= USABLE * free else None, next(fitting, 0))
