"""The loop that an expert writes with transformers and PEFT: fair, and without any of this project's mechanisms.

Model loaded from a warm page cache, data-loader workers, half precision where ours has it, batches of like length, adapter merged
before evaluation, batched beam search. Its batches hold the pairs of the images that ours takes in the same step, so that
both walk the same path and their losses can be compared.
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

from benchmarks.work import Work
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraSpec
from rsopt.model.base import DTYPES
from rsopt.model.build import lora_config
from rsopt.training.dataset import batches
from rsopt.training.trainer import schedule

MICRO = 80  # pairs a forward pass: a whole step of 16 images where memory allows


@dataclass
class Outcome:
    """Seconds by part, on the clock and of the processor; last loss, and captions by image."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    loss: float = 0.0
    captions: dict[int, str] = field(default_factory=dict)
    cider: float | None = None
    _since: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    @property
    def total(self) -> float:
        """Seconds of the whole trial, on the clock."""
        return sum(self.seconds.values())

    def lap(self, name: str) -> None:
        """What was done since the last lap was `name`. Processor time leaves data-loader workers out."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter(), time.process_time()
        self.seconds[name], self.cpu[name] = now[0] - self._since[0], now[1] - self._since[1]
        self._since = now


class Steps(Dataset[dict[str, torch.Tensor]]):
    """One item a step: the pairs of its images, every image's pixels as often as it has captions."""

    def __init__(self, work: Work, recipe: Recipe, seed: int) -> None:
        self.work, self.pairs = work, work.pairs
        self.of: dict[int, list[int]] = {}
        for row, (image, _) in enumerate(self.pairs):
            self.of.setdefault(image, []).append(row)
        lengths = [sum(len(c.ids) for c in own) for own in work.captions]
        per_epoch = -(-work.train // recipe.batch_images)
        epochs = range(-(-round(recipe.epochs * per_epoch) // per_epoch))
        orders = [list(batches(lengths, recipe.batch_images, np.random.default_rng([seed, e]))) for e in epochs]
        self.order = [chosen for order in orders for chosen in order][: max(1, round(recipe.epochs * per_epoch))]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rows = self.rows(step)
        images = [self.pairs[row][0] for row in rows]
        unique = sorted(set(images))
        pixels = self.work.pixels(unique)[[unique.index(i) for i in images]]
        return {"pixel_values": pixels, **self.text(rows)}

    def rows(self, step: int) -> list[int]:
        """The pairs of one step."""
        return [row for image in self.order[step] for row in self.of[image]]

    def text(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Ids, labels and mask of these pairs, padded right: `<image> x queries, </s>, caption, newline`."""
        config = self.work.base.model.config
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


def run_naive(work: Work, folder: Path, lora: LoraSpec, recipe: Recipe, seed: int, new_tokens: int) -> Outcome:
    """One whole trial from a folder with the base's weights."""
    device, dtype = work.base.device, DTYPES[work.base.dtype]
    out = Outcome(device)
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).requires_grad_(False).eval().to(device)
    torch.manual_seed(seed)
    peft = get_peft_model(model, lora_config(lora))
    out.lap("build")
    out.loss = train(model, work, recipe, seed)
    out.lap("train")
    out.captions = caption(peft.merge_and_unload(), work, new_tokens)
    out.lap("caption")
    if work.stock_score:
        out.cider = work.stock_score(out.captions)
        out.lap("score")
    return out


def train(model: Any, work: Work, recipe: Recipe, seed: int, steps: int | None = None) -> float:
    """The plain loop; the loss of the last step. `model.eval()` on purpose: packing assumes that the base's dropout is off."""
    device, dtype = work.base.device, DTYPES[work.base.dtype]
    data = Steps(work, recipe, seed)
    # One worker where there are few cores: more would take them from the training itself.
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
            group["lr"] = recipe.lr * schedule(step, len(data), recipe.warmup_share)
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return last.item()


@torch.inference_mode()
def caption(model: Any, work: Work, new_tokens: int, batch: int = 20, beams: int = 5) -> dict[int, str]:
    """Batched beam search over pixels, as the model card shows it."""
    base = work.base
    prompt = torch.tensor([[model.config.image_token_index] * model.config.num_query_tokens + [base.start_id]])
    found: dict[int, str] = {}
    for start in range(work.train, work.images, batch):
        rows: Sequence[int] = range(start, min(start + batch, work.images))
        ids = prompt.expand(len(rows), -1).to(base.device)
        out = model.generate(
            pixel_values=work.pixels(rows).to(base.device, DTYPES[base.dtype]),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=base.end_id,
            pad_token_id=base.tokenizer.pad_token_id,
        )
        texts = base.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        found.update(zip(rows, (" ".join(t.split()) for t in texts), strict=True))
    return found
