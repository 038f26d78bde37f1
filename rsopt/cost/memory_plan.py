"""Plans of training and captioning that are predicted to fit into free memory, or into a card of some size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from rsopt.core.inference import BEAMS, MAX_NEW_TOKENS
from rsopt.core.packed_lengths import RSICD, PackedLengths
from rsopt.core.variant import Dtype, Variant
from rsopt.cost.memory import Workload
from rsopt.cost.model import CostModel

USABLE = 0.85  # share of free memory to plan with: allocators leave gaps, and other workers need memory too
CONTEXT = 0.7e9  # bytes of a card that CUDA and its libraries take in each process


def free_bytes(device: torch.device) -> int:
    """Returns the bytes that this process can still allocate on `device`, its allocator's reserve included.

    Respects torch.cuda.set_per_process_memory_fraction, by which a card can stand in for a smaller one.
    """
    if device.type != "cuda":
        return psutil.virtual_memory().available
    free, total = torch.cuda.mem_get_info(device)
    allowed = int(total * torch.cuda.get_per_process_memory_fraction(device)) - torch.cuda.memory_reserved(device)
    return min(free, allowed) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Images a forward pass, and whether the LLM's activations are recomputed."""

    images: int
    recompute: bool
    need: float  # predicted peak bytes beside the weights


def training_plan(costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int, free: float) -> TrainingPlan:
    """Returns the fastest plan predicted to fit into `free` bytes beside the weights; where none fits, the smallest.

    Images a forward pass are halved first, which leaves the step the same since gradients are summed. Where a single image
    does not fit, activations are recomputed, for a third more compute.

    Args:
        costs: Costs of the base.
        variant: The variant to train.
        dtype: Of the base's weights.
        longest: Most caption tokens packed behind one of the images.
        images: Images a step.
        free: Free bytes, the weights already loaded.
    """
    plan = TrainingPlan(1, True, 0.0)
    for recompute in (False, True):
        for count in halved(images):
            plan = TrainingPlan(count, recompute, training_need(costs, variant, dtype, longest, count, recompute))
            if plan.need <= USABLE * free:
                return plan
    return plan


def halved(images: int) -> Sequence[int]:
    """Returns `images`, half of it, and so on to 1."""
    counts = [images]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // 2))
    return counts


def training_need(costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int, recompute: bool = False) -> float:
    """Returns the predicted peak bytes of a training step beside the weights. Arguments as of `training_plan`."""
    load = Workload(text_tokens=longest, captions_per_image=1, batch_images=images, dtype=dtype, recompute=recompute)
    memory = costs.cost(variant, load).memory_gb
    return 1e9 * (memory["training"] - memory["weights"])


@dataclass(frozen=True, slots=True)
class CardPlan:
    """How a variant fits onto a card, in bytes. `training` is for ordinary images, None where the longest does not fit."""

    weights: float
    merged: float  # copies of the adapted weights, for captioning and export
    training: TrainingPlan | None
    caption_images: int  # at once; 0 where not even one fits

    @property
    def least(self) -> float:
        """Returns the bytes needed before any step."""
        return CONTEXT + self.weights + self.merged


def card_plan(
    costs: CostModel, variant: Variant, dtype: Dtype, images: int, card: float, captions: int, packed: PackedLengths = RSICD
) -> CardPlan:
    """Returns how a variant fits onto a card.

    Args:
        costs: Costs of the base.
        variant: The variant.
        dtype: Of the base's weights.
        images: Images a training step.
        card: Memory of the card, in bytes.
        captions: Images captioned at once, if they fit.
        packed: Caption tokens behind an image.
    """
    weights = 1e9 * costs.cost(variant, Workload(dtype=dtype)).memory_gb["weights"]
    merged = costs.merged_bytes(variant, dtype)
    free = card - CONTEXT - weights
    plan = training_plan(costs, variant, dtype, packed.ordinary, images, free)
    longest = training_plan(costs, variant, dtype, packed.longest, 1, free)
    trains = max(plan.need, longest.need) <= USABLE * free

    def captioning(count: int) -> float:
        load = Workload(caption_images=count, beams=BEAMS, text_tokens=MAX_NEW_TOKENS, dtype=dtype)
        return 1e9 * costs.cost(variant, load).memory_gb["captioning"] - weights

    fitting = (count for count in halved(captions) if captioning(count) <= USABLE * (free - merged))
    return CardPlan(weights, merged, plan if trains else None, next(fitting, 0))
