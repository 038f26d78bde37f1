"""What counting a captioner of another kind needs: a cost from its parts, and tensors without memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsopt.cost.memory import BYTES, Workload
from rsopt.cost.model import Cost


def assemble_cost(params: dict[str, int], macs: dict[str, int], trainable: int, load: Workload) -> Cost:
    """The cost of a model from its parts' parameters and multiply-adds; totals, sizes and memory follow from them."""
    total = sum(params.values())
    return Cost(
        {**params, "total": total},
        trainable,
        {name: count / 1e9 for name, count in {**macs, "total": sum(macs.values())}.items()},
        {dtype: total * size / 1e6 for dtype, size in BYTES.items()},
        {"weights": total * BYTES[load.dtype] / 1e9},
    )


def parameter_count(module: nn.Module) -> int:
    """Parameters of a module, each once."""
    return sum(p.numel() for p in module.parameters())


def meta_tensor(*shape: int) -> Tensor:
    """A tensor of that shape without memory."""
    return torch.empty(*shape, device="meta")
