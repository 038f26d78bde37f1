"""LoRA's linear layer in one operation a matrix product: PEFT's results in less time and memory.

PEFT scales and adds a second output in the adapter's dtype: two more passes over every activation and, over a bfloat16 base,
a float32 copy of each input. Here the products accumulate in place, and the adapter is cast instead of the activations.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn

ADAPTER = "default"  # PEFT's name for the only adapter


def fuse(model: nn.Module) -> int:
    """Replaces the forward of every LoRA linear without dropout; returns how many. Merging is still done by PEFT."""
    fused = 0
    for module in model.modules():
        if isinstance(module, Linear) and not module.lora_variant and _dropout(module) == 0:
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def compile_layers(llm: Any, backend: str = "inductor") -> None:
    """Compiles the LLM's layers as one graph for all of them and for every packed length. `llm` is an OPTForCausalLM.

    Off by default: on a CPU it was not faster (docs/adr/0005); on a GPU `rsopt.gpu_check` says after how many steps it pays.
    """
    for layer in llm.model.decoder.layers:  # the same code with the same guards: one graph serves all
        layer.compile(dynamic=True, backend=backend)


def _dropout(module: Any) -> float:
    return getattr(module.lora_dropout[ADAPTER], "p", 0.0)


def _forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    if self.disable_adapters or self.merged:
        return type(self).forward(self, x)
    base = self.get_base_layer()
    down, up = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
    return _LoraLinear.apply(x, base.weight, base.bias, down, up, self.scaling[ADAPTER])


class _LoraLinear(torch.autograd.Function):
    """y = x W' + b + scale (x A') B', for a frozen W (out, in), A (rank, in) and B (out, rank)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ down.to(x.dtype).t()
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        y.addmm_(narrow, up.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(rows, weight, down, up, narrow)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        rows, weight, down, up, narrow = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        narrow_grad = grad @ up.to(grad.dtype)
        into = None
        if ctx.needs_input_grad[0]:
            into = (grad @ weight).addmm_(narrow_grad, down.to(grad.dtype), alpha=ctx.scale).view(ctx.shape)
        down_grad = (narrow_grad.t() @ rows).to(down.dtype).mul_(ctx.scale)
        up_grad = (grad.t() @ narrow).to(up.dtype).mul_(ctx.scale)
        return into, None, None, down_grad, up_grad, None
