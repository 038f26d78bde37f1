"""Optimizer step and learning-rate schedule: weights in one buffer, summed gradients, batches halved when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from rsopt.common.out_of_memory import is_out_of_memory, release
from rsopt.core.recipe import Recipe
from rsopt.training.micro_batches import MicroBatches

# (images, scale of the loss) -> their loss; adds the scaled gradients to the parameters. Must not wait for the device.
Backward = Callable[[Sequence[int], Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]


class Stepper:
    """AdamW over float32 copies of the trainable weights in one buffer: clearing, clipping and stepping are one call each.

    Weights in another dtype (a trained projection) keep it and are copied to and from the buffer. Over a float16 base, whose
    gradients underflow, the loss is scaled, and a step whose gradients overflow is skipped.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        recipe: Recipe,
        scaled: bool,
        micro: MicroBatches,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.parameters, self.recipe, self.micro = parameters, recipe, micro
        self.master = nn.Parameter(torch.cat([p.detach().float().flatten() for p in parameters.values()]))
        self.master.grad = torch.zeros_like(self.master)
        sizes = [p.numel() for p in parameters.values()]
        self._weights = dict(zip(parameters, self.master.data.split(sizes), strict=True))
        self._grads = dict(zip(parameters, self.master.grad.split(sizes), strict=True))
        self._apart = [name for name, p in parameters.items() if p.dtype != torch.float32]
        for name, parameter in parameters.items():
            if parameter.dtype == torch.float32:
                parameter.data = self._weights[name].view_as(parameter)
                parameter.grad = self._grads[name].view_as(parameter)
        self.optimiser = torch.optim.AdamW([self.master], lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay, fused=True)
        self.scaler = torch.amp.GradScaler(self.master.device.type, enabled=scaled)

    def step(self, chosen: Sequence[int], lr: float, backward: Backward) -> torch.Tensor:
        """Takes one step over the images `chosen`; returns the loss without waiting for it.

        Raises the out-of-memory error of a micro-batch of one image.
        """
        loss: torch.Tensor | None = None
        while loss is None:
            loss = self._gradients(chosen, backward)
            if loss is None:
                release()  # outside the handler, where the tensors of the failed attempt are freed
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        for name in self._apart:
            grad = self.parameters[name].grad
            assert grad is not None
            self._grads[name].copy_(grad.flatten())
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.master, self.recipe.max_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        for name in self._apart:
            self.parameters[name].data.copy_(self._weights[name].view_as(self.parameters[name]))
        return loss

    def _gradients(self, chosen: Sequence[int], backward: Backward) -> torch.Tensor | None:
        """Computes the gradients of one batch; returns its loss, or None when a smaller micro-batch may fit into memory."""
        assert self.master.grad is not None
        self.master.grad.zero_()
        for name in self._apart:
            self.parameters[name].grad = None
        losses, part = list[torch.Tensor](), chosen
        try:
            for part in self.micro.split(chosen):
                losses.append(backward(part, self.scaler.scale))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.micro.halve(part)
            if len(part) == 1:
                raise
            return None
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]

    def state(self) -> dict[str, torch.Tensor]:
        """Returns weights, moments and loss scale by name, on the CPU."""
        moments = self.optimiser.state.get(self.master, {})
        tensors = {f"weight/{name}": self._weights[name].view_as(p) for name, p in self.parameters.items()}
        if moments:
            tensors["step"] = moments["step"]
            for kind in ("exp_avg", "exp_avg_sq"):
                parts = moments[kind].split([p.numel() for p in self.parameters.values()])
                tensors |= {
                    f"{kind}/{name}": part.view_as(p) for (name, p), part in zip(self.parameters.items(), parts, strict=True)
                }
        if self.scaler.is_enabled():
            scale = self.scaler.state_dict()
            tensors["scale"] = torch.tensor([scale["scale"], float(scale["_growth_tracker"])], dtype=torch.float64)
        return {name: t.detach().cpu().clone() for name, t in tensors.items()}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restores `state`. Raises ValueError when it is of another candidate."""
        if {n.removeprefix("weight/") for n in tensors if n.startswith("weight/")} != set(self.parameters):
            raise ValueError("not this candidate's adapter")
        for name, parameter in self.parameters.items():
            self._weights[name].copy_(tensors[f"weight/{name}"].flatten())
            if name in self._apart:
                parameter.data.copy_(tensors[f"weight/{name}"])
        if "step" in tensors:
            device = self.master.device
            state = {
                kind: torch.cat([tensors[f"{kind}/{name}"].flatten() for name in self.parameters]).to(device)
                for kind in ("exp_avg", "exp_avg_sq")
            }
            self.optimiser.state[self.master] = {"step": tensors["step"].to(device), **state}
        if "scale" in tensors and self.scaler.is_enabled():
            scale, growth = tensors["scale"].tolist()
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})


def learning_rate_share(step: int, total: int, warmup_share: float) -> float:
    """Returns the factor of the learning rate at `step`: linear warm-up, then cosine decay to a twentieth."""
    warmup = max(1, round(warmup_share * total))
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
