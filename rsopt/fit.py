"""How many images fit into memory at once: the closed-form prediction against what is free now."""

from __future__ import annotations

import psutil
import torch

from rsopt.cost import CostModel
from rsopt.memory import Workload
from rsopt.variant import Dtype, Variant

USABLE = 0.85  # of what is free: allocators leave gaps, and other workers of the device need theirs


def free_bytes(device: torch.device) -> int:
    """Bytes that a process can still take on `device`, its own allocator's reserve included."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def micro_batch(costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int, free: float) -> int:
    """Images a forward pass of training, halved from `images` until the predicted peak fits `free` bytes; at least 1.

    `longest` is the most caption tokens packed behind one image. The weights are there already.
    """
    while images > 1 and training_need(costs, variant, dtype, longest, images) > USABLE * free:
        images = -(-images // 2)
    return images


def training_need(costs: CostModel, variant: Variant, dtype: Dtype, longest: int, images: int) -> float:
    """Predicted peak bytes of a training step beside the weights."""
    load = Workload(text_tokens=longest, captions_per_image=1, batch_images=images, dtype=dtype)
    memory = costs.cost(variant, load).memory_gb
    return 1e9 * (memory["training"] - memory["weights"])
