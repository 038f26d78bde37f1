"""Training of a built variant: packed caption loss over cached features, from one share of the budget to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import Blip2ForConditionalGeneration

from rsopt.build import Built
from rsopt.pack import IGNORE, Packed, TokenCaption, batches, pack
from rsopt.recipe import Recipe


class CandidateError(Exception):
    """The candidate's own fault: `kind` and `reason` end up in a Fault."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features (images, tokens, width) and token captions of the same images, in the same order."""

    features: torch.Tensor
    captions: Sequence[Sequence[TokenCaption]]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a stretch of training did: steps, mean loss of its last tenth, images seen."""

    steps: int
    loss: float
    images: int


def query_prefix(model: Blip2ForConditionalGeneration, features: torch.Tensor) -> torch.Tensor:
    """Q-Former and projection over vision features (B, tokens, width): the LLM's image prefix (B, Q, hidden)."""
    queries = model.query_tokens.expand(features.shape[0], -1, -1)
    output = model.qformer(query_embeds=queries, encoder_hidden_states=features).last_hidden_state
    return model.language_projection(output.to(features.dtype))


def packed_loss(model: Blip2ForConditionalGeneration, features: torch.Tensor, batch: Packed) -> torch.Tensor:
    """Mean cross-entropy over target tokens, repeated captions counted as often as they are repeated. A scalar, float32."""
    decoder = model.language_model.model.decoder
    prefix = query_prefix(model, features)
    embeds = torch.cat([prefix, decoder.embed_tokens(batch.ids).to(prefix.dtype)], dim=1)
    mask = torch.zeros(batch.visible.shape, dtype=embeds.dtype, device=embeds.device)
    mask.masked_fill_(~batch.visible, torch.finfo(embeds.dtype).min)
    hidden = decoder(inputs_embeds=embeds, attention_mask=mask, position_ids=batch.positions, use_cache=False)
    chosen = batch.targets != IGNORE
    logits = model.language_model.lm_head(hidden.last_hidden_state[:, prefix.shape[1] :][chosen])
    losses = functional.cross_entropy(logits.float(), batch.targets[chosen], reduction="none")
    weights = batch.weights[chosen]
    return (losses * weights).sum() / weights.sum()


def packed_batch(
    model: Blip2ForConditionalGeneration, data: TrainingSet, chosen: Sequence[int], pad_id: int
) -> tuple[torch.Tensor, Packed]:
    """Features (B, tokens, width) and packed captions of the chosen images, on the model's device."""
    device = model.query_tokens.device
    packed = pack([data.captions[i] for i in chosen], model.query_tokens.shape[1], pad_id)
    batch = Packed(*(getattr(packed, name).to(device, non_blocking=True) for name in Packed.__slots__))
    rows = torch.tensor(list(chosen), device=data.features.device)
    return data.features[rows].to(device, non_blocking=True), batch


class Trainer:
    """Optimiser and schedule of one candidate. The data order depends on (seed, epoch) alone, so legs join without a seam."""

    def __init__(self, built: Built, data: TrainingSet, recipe: Recipe, seed: int, pad_id: int) -> None:
        self.built, self.data, self.recipe, self.seed, self.pad_id = built, data, recipe, seed, pad_id
        self.parameters = built.trainable()
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.steps_per_epoch = math.ceil(len(data.captions) / recipe.batch_images)
        self.total_steps = max(1, round(recipe.epochs * self.steps_per_epoch))
        self.lengths = [sum(len(c.ids) for c in captions) for captions in data.captions]

    def run(self, start: float, stop: float, between_steps: Callable[[], None] | None = None) -> TrainResult:
        """Train from share `start` to share `stop` of the budget. Raises CandidateError when the loss is not finite."""
        first, last = round(start * self.total_steps), round(stop * self.total_steps)
        lora_dropout = [m for n, m in self.built.model.named_modules() if ".lora_dropout." in n]
        for module in lora_dropout:  # the base's own dropout stays off: it is frozen, and packing assumes none
            module.train()
        losses: list[torch.Tensor] = []
        images, epoch, order = 0, -1, list[list[int]]()
        for step in range(first, last):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                rng = np.random.default_rng([self.seed, epoch])
                order = list(batches(self.lengths, self.recipe.batch_images, rng))
            chosen = order[step % self.steps_per_epoch]
            losses.append(self._step(step, chosen))
            images += len(chosen)
            if step % 20 == 0:
                self._check(losses[-1], step)
            if between_steps:
                between_steps()
        for module in lora_dropout:
            module.eval()
        if not losses:
            return TrainResult(0, math.nan, 0)
        self._check(losses[-1], last)
        tail = torch.stack(losses[-max(1, len(losses) // 10) :])
        return TrainResult(len(losses), tail.mean().item(), images)

    def _step(self, step: int, chosen: Sequence[int]) -> torch.Tensor:
        features, batch = packed_batch(self.built.model, self.data, chosen, self.pad_id)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.lr * schedule(step, self.total_steps, self.recipe.warmup_share)
        torch.manual_seed(
            (self.seed * 1_000_003 + step) % 2**63
        )  # dropout masks depend on (seed, step), not on history
        loss = packed_loss(self.built.model, features, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.recipe.max_grad_norm)
        self.optimiser.step()
        return loss.detach()

    def _check(self, loss: torch.Tensor, step: int) -> None:
        if not math.isfinite(value := loss.item()):
            raise CandidateError("nan", f"training loss is {value} at step {step} of {self.total_steps}")

    def save(self, path: Path) -> None:
        """Adapter weights and optimiser moments, as safetensors (no pickle)."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach().contiguous().cpu()
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = torch.as_tensor(value).detach().contiguous().cpu()
        save_file(tensors, path)

    def load(self, path: Path) -> None:
        """Inverse of `save`. Raises ValueError when the file is of another candidate."""
        tensors = load_file(path, device=str(self.built.model.query_tokens.device))
        if {n.removeprefix("weight/") for n in tensors if n.startswith("weight/")} != set(self.parameters):
            raise ValueError(f"{path} does not hold this candidate's adapter")
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[f"weight/{name}"])
            state = {k: tensors[f"{k}/{name}"] for k in ("exp_avg", "exp_avg_sq", "step") if f"{k}/{name}" in tensors}
            if state:
                state["step"] = state["step"].cpu()
                self.optimiser.state[parameter] = state


def schedule(step: int, total: int, warmup_share: float) -> float:
    """Factor of the learning rate at `step`: linear warm-up, then cosine to a twentieth."""
    warmup = max(1, round(warmup_share * total))
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@torch.inference_mode()
def validation_loss(
    model: Blip2ForConditionalGeneration, data: TrainingSet, pad_id: int, batch_images: int = 32
) -> float:
    """Weighted mean token loss over `data`, without training."""
    total = weight = 0.0
    for start in range(0, len(data.captions), batch_images):
        chosen = range(start, min(start + batch_images, len(data.captions)))
        features, batch = packed_batch(model, data, chosen, pad_id)
        tokens = float(batch.weights.sum())
        total += packed_loss(model, features, batch).item() * tokens
        weight += tokens
    return total / weight
