"""A trial as an expert writes it with transformers and PEFT, without this project's mechanisms, to compare with.

It loads the model from a warm page cache, uses data-loader workers, the same precision, batches of similar length, an adapter
merged before evaluation, and batched beam search. Its steps hold the pairs of the same images as this project's steps, so
the losses can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from torch.utils.data import DataLoader, Dataset
from transformers import Blip2ForConditionalGeneration

from benchmarks.trial_inputs import TrialInputs
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraSpec
from rsopt.model.base import DTYPES
from rsopt.model.build import lora_config
from rsopt.training.dataset import batches
from rsopt.training.optimizer import learning_rate_share

MICRO = 80  # pairs a forward pass: a whole step of 16 images where memory allows


@dataclass
class Outcome:
    """Wall-clock and processor seconds of each part of a trial, the last loss, and captions by image."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    loss: float = 0.0
    captions: dict[int, str] = field(default_factory=dict)
    cider: float | None = None
    _since: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    @property
    def total(self) -> float:
        """Wall-clock seconds of the whole trial."""
        return sum(self.seconds.values())

    def lap(self, name: str) -> None:
        """Record the time since the last lap as part `name`. Processor time excludes data-loader workers."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter(), time.process_time()
        self.seconds[name], self.cpu[name] = now[0] - self._since[0], now[1] - self._since[1]
        self._since = now


class Steps(Dataset[dict[str, torch.Tensor]]):
    """Batches: one item is a training step with all pairs of its images; pixels are repeated for each caption."""

    def __init__(self, inputs: TrialInputs, recipe: Recipe, seed: int) -> None:
        self.inputs, self.pairs = inputs, inputs.pairs
        self.of: dict[int, list[int]] = {}
        for row, (image, _) in enumerate(self.pairs):
            self.of.setdefault(image, []).append(row)
        lengths = [sum(len(c.ids) for c in captions) for captions in inputs.captions]
        per_epoch = -(-inputs.train // recipe.batch_images)
        epochs = range(-(-round(recipe.epochs * per_epoch) // per_epoch))
        orders = [list(batches(lengths, recipe.batch_images, np.random.default_rng([seed, e]))) for e in epochs]
        self.order = [chosen for order in orders for chosen in order][: max(1, round(recipe.epochs * per_epoch))]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rows = self.rows(step)
        images = [self.pairs[row][0] for row in rows]
        unique = sorted(set(images))
        pixels = self.inputs.pixels(unique)[[unique.index(i) for i in images]]
        return {"pixel_values": pixels, **self.text(rows)}

    def rows(self, step: int) -> list[int]:
        """Indices of a step's pairs."""
        return [row for image in self.order[step] for row in self.of[image]]

    def text(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Ids, labels and mask of these pairs, padded on the right: `<image> x queries, </s>, caption, newline`."""
        config = self.inputs.base.model.config
        queries = config.num_query_tokens
        width = queries + max(len(self.pairs[row][1]) for row in rows)
        ids = torch.ones(len(rows), width, dtype=torch.long)
        labels = torch.full_like(ids, -100)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            tokens = self.pairs[row][1]
            end = queries + len(tokens)
            ids[at, :queries] = config.image_token_index
            ids[at, queries:end] = torch.tensor(tokens)
            labels[at, queries + 1 : end] = torch.tensor(tokens[1:])
            mask[at, :end] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def run_naive(inputs: TrialInputs, folder: Path, lora: LoraSpec, recipe: Recipe, seed: int, new_tokens: int) -> Outcome:
    """Run a whole trial: load, train, caption, score.

    Args:
        inputs: the trial's data.
        folder: with the base's weights.
        lora: the adapter.
        recipe: of the training.
        seed: of the adapter and the order of batches.
        new_tokens: at most in a caption.
    """
    device, dtype = inputs.base.device, DTYPES[inputs.base.dtype]
    out = Outcome(device)
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).requires_grad_(False).eval().to(device)
    torch.manual_seed(seed)
    peft = get_peft_model(model, lora_config(lora))
    out.lap("build")
    out.loss = train(model, inputs, recipe, seed)
    out.lap("train")
    out.captions = caption(peft.merge_and_unload(), inputs, new_tokens)
    out.lap("caption")
    if inputs.stock_score:
        out.cider = inputs.stock_score(out.captions)
        out.lap("score")
    return out


def train(model: Any, inputs: TrialInputs, recipe: Recipe, seed: int, steps: int | None = None) -> float:
    """Train with a plain loop; returns the loss of the last step.

    The model stays in eval mode on purpose: this project's trainer assumes that the base's dropout is off.

    Args:
        model: with adapters.
        inputs: the trial's data.
        recipe: of the training.
        seed: of the order of batches.
        steps: stop after so many; None trains to the end.
    """
    device, dtype = inputs.base.device, DTYPES[inputs.base.dtype]
    data = Steps(inputs, recipe, seed)
    # On a CPU more workers would take cores from the training itself.
    workers = 4 if device.type == "cuda" else 1
    loader = DataLoader(data, batch_size=None, num_workers=workers, pin_memory=device.type == "cuda")
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    last = torch.zeros(())
    for step, batch in enumerate(loader):
        if step == steps:
            break
        batch = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
        batch["pixel_values"] = batch["pixel_values"].to(dtype)
        targets = (batch["labels"] != -100).sum()
        last = torch.zeros((), device=device)
        for at in range(0, len(batch["labels"]), MICRO):
            part = {k: v[at : at + MICRO] for k, v in batch.items()}
            loss = model(**part).loss * (part["labels"] != -100).sum() / targets
            loss.backward()
            last += loss.detach()
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr * learning_rate_share(step, len(data), recipe.warmup_share)
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return last.item()


@torch.inference_mode()
def caption(model: Any, inputs: TrialInputs, new_tokens: int, batch: int = 20, beams: int = 5) -> dict[int, str]:
    """Caption the evaluated images from their pixels, as the model card shows it; returns captions by image.

    Args:
        model: merged.
        inputs: the trial's data.
        new_tokens: at most in a caption.
        batch: images decoded together.
        beams: of the search.
    """
    base = inputs.base
    prompt = torch.tensor([[model.config.image_token_index] * model.config.num_query_tokens + [base.start_id]])
    captions: dict[int, str] = {}
    for start in range(inputs.train, inputs.images, batch):
        rows: Sequence[int] = range(start, min(start + batch, inputs.images))
        ids = prompt.expand(len(rows), -1).to(base.device)
        out = model.generate(
            pixel_values=inputs.pixels(rows).to(base.device, DTYPES[base.dtype]),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=base.end_id,
            pad_token_id=base.tokenizer.pad_token_id,
        )
        texts = base.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        captions.update(zip(rows, (" ".join(t.split()) for t in texts), strict=True))
    return captions
