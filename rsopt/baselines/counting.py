"""Helpers for counting the costs of baselines: totals from parts, and tensors without memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsopt.cost.memory import BYTES, Workload
from rsopt.cost.model import Cost


def assemble_cost(params: dict[str, int], macs: dict[str, int], trainable: int, load: Workload) -> Cost:
    """The cost of a model from parameters and multiply-adds of its parts, with totals, sizes and memory."""
    total = sum(params.values())
    return Cost(
        {**params, "total": total},
        trainable,
        {name: count / 1e9 for name, count in {**macs, "total": sum(macs.values())}.items()},
        {dtype: total * size / 1e6 for dtype, size in BYTES.items()},
        {"weights": total * BYTES[load.dtype] / 1e9},
    )


def parameter_count(module: nn.Module) -> int:
    """Number of parameters of a module; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def meta_tensor(*shape: int) -> Tensor:
    """A tensor of the given shape without memory."""
    return torch.empty(*shape, device="meta")
