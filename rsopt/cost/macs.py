"""Multiply-adds of a module, by submodule: fvcore with a handle for fused attention added. Works on the meta device.

One multiply-add is one MAC; a GFLOP of a profiler is half a GMAC. Attention counts its two products over all pairs of
positions, masked ones too, as profilers do; norms, activations and additions are not multiply-adds.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn


def macs_by_module(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, int]:
    """Returns multiply-adds of one forward pass by submodule name, `""` for the whole. `inputs` are on the module's device."""
    analysis = FlopCountAnalysis(module, inputs)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs, "aten::layer_norm", _nothing)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    transformers_log = logging.getLogger("transformers")
    level = transformers_log.level
    transformers_log.setLevel(logging.ERROR)  # tracing causes warnings that do not affect the count
    try:
        return {name: int(count) for name, count in analysis.by_module().items()}
    finally:
        transformers_log.setLevel(level)


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    """Counts nothing. fvcore's own value for that, None, would leave its built-in handle in place."""
    return 0


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Queries (B, H, N, D), keys (B, H, M, D), values (B, H, M, E): N*M*(D+E) multiply-adds for each head."""
    batch, heads, positions, width = inputs[0].type().sizes()
    seen, value_width = inputs[2].type().sizes()[2:]
    return batch * heads * positions * seen * (width + value_width)
