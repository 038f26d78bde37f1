"""The three stages of pretraining, each a function that trains the model in place.

They stand for what a real BLIP-2 is made of: `see` for the image-text training of its vision tower and the first stage of its
Q-Former (here with labels that the renderer knows, which takes thousands of times fewer pictures than contrastive training),
`read` for OPT's training on text, `tell` for BLIP-2's second stage, captions through the projection. Whole layers are left
out at random in `read` and `tell` (stochastic depth, 1603.09382; LayerDrop, 1909.11556), so that no single layer is all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerBase
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from rsopt.pretrain.corpus import UNKNOWN, Pictures
from rsopt.pretrain.heads import Heads, Known

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps and batch sizes of the stages; `scale` of all of them is the script's --scale."""

    pictures: int = 12000
    sentences: int = 60000
    look_steps: int = 2500
    see_steps: int = 1300
    read_steps: int = 1000
    tell_steps: int = 1200
    batch: int = 64
    rows: int = 16  # text rows of 96 tokens a step

    def scaled(self, scale: float) -> Budget:
        """A shorter or longer pretraining, for trying things."""

        def part(count: int) -> int:
            return max(4, round(count * scale))

        pictures = part(self.pictures)
        steps = {
            "see_steps": part(self.see_steps),
            "read_steps": part(self.read_steps),
            "tell_steps": part(self.tell_steps),
        }
        return replace(
            self, pictures=pictures, sentences=part(self.sentences), batch=min(self.batch, pictures), **steps
        )


def as_input(pixels: np.ndarray) -> Tensor:
    """(B, 64, 64, 3) uint8 to the (B, 3, 64, 64) floats that the processor would give."""
    mean, std = torch.tensor(OPENAI_CLIP_MEAN), torch.tensor(OPENAI_CLIP_STD)
    return ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def _schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over 4 % of the steps, then a cosine down to 3 %."""
    warmup = max(1, steps // 25)

    def share(step: int) -> float:
        rest = (step - warmup) / max(1, steps - warmup)
        return (step + 1) / warmup if step < warmup else 0.03 + 0.97 * (1 + math.cos(math.pi * min(1.0, rest))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()


def _order(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Index batches, epoch after epoch, for `steps` steps."""
    left = np.array([], dtype=np.int64)
    for _ in range(steps):
        if len(left) < batch:
            left = np.concatenate([left, rng.permutation(count)])
        head, left = left[:batch], left[batch:]
        yield head


@contextmanager
def thinned(model: Blip2ForConditionalGeneration, rng: Random, llm: float, qformer: float) -> Iterator[None]:
    """The model with each LLM layer left out with probability `llm` and each Q-Former pair with `qformer`, at least one kept."""
    decoder, encoder = model.language_model.model.decoder, model.qformer.encoder
    layers, blocks, depth = decoder.layers, encoder.layer, encoder.config.num_hidden_layers
    every = encoder.config.cross_attention_frequency
    kept = [layer for layer in layers if rng.random() >= llm] or [layers[0]]
    pairs = [i for i in range(0, depth, every) if rng.random() >= qformer] or [0]
    try:
        decoder.layers = nn.ModuleList(kept)
        encoder.layer = nn.ModuleList([blocks[i + j] for i in pairs for j in range(every)])
        encoder.config.num_hidden_layers = every * len(pairs)
        yield
    finally:
        decoder.layers, encoder.layer, encoder.config.num_hidden_layers = layers, blocks, depth


def _queries(model: Blip2ForConditionalGeneration, seen: Tensor) -> Tensor:
    """Q-Former outputs (B, Q, D) for vision outputs (B, 1+P, D)."""
    tokens = model.query_tokens.expand(len(seen), -1, -1)
    return model.qformer(query_embeds=tokens, encoder_hidden_states=seen).last_hidden_state


def see(
    model: Blip2ForConditionalGeneration, pictures: Pictures, budget: Budget, seed: int, progress: Progress
) -> None:
    """Stage 1: vision tower and Q-Former learn what is where, how many and of which colour."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    heads = Heads(
        model.config.vision_config.hidden_size, model.config.qformer_config.hidden_size, model.config.num_query_tokens
    )
    parts = [*model.vision_model.parameters(), *model.qformer.parameters(), model.query_tokens, *heads.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=1.2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = _schedule(optimizer, budget.see_steps)
    drop = Random(f"see {seed}")
    for step, rows in enumerate(_order(len(pictures.pixels), budget.batch, budget.see_steps, rng), 1):
        known = Known.of(pictures, rows)
        with thinned(model, drop, 0.0, 0.08), torch.autocast("cpu", torch.bfloat16):
            seen = model.vision_model(pixel_values=as_input(pictures.pixels[rows])).last_hidden_state
            queries = _queries(model, seen)
        loss = heads.loss(seen.float(), queries.float(), known)
        _step(loss, optimizer, schedule)
        if step % 50 == 0 or step == budget.see_steps:
            progress(
                f"see {step}/{budget.see_steps} loss {loss.item():.3f} {heads.report(queries.detach().float(), known)}"
            )


def _rows(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, width: int) -> Tensor:
    """Texts, each `</s> ... newline`, end to end and cut into rows (R, width)."""
    ids = [i for sample in tokenizer([f"{t}\n" for t in texts])["input_ids"] for i in sample]
    return torch.tensor(ids[: len(ids) // width * width]).view(-1, width)


def read(
    model: Blip2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    budget: Budget,
    seed: int,
    progress: Progress,
) -> None:
    """Stage 2: the language model learns words from text alone."""
    torch.manual_seed(seed)
    table = _rows(texts, tokenizer, 96)
    llm = model.language_model
    optimizer = torch.optim.AdamW(llm.parameters(), lr=2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = _schedule(optimizer, budget.read_steps)
    drop = Random(f"read {seed}")
    rng = np.random.default_rng([seed, 2])
    for step, rows in enumerate(_order(len(table), min(budget.rows, len(table)), budget.read_steps, rng), 1):
        ids = table[rows]
        with thinned(model, drop, 0.1, 0.0), torch.autocast("cpu", torch.bfloat16):
            loss = llm(input_ids=ids, labels=ids, use_cache=False).loss
        _step(loss, optimizer, schedule)
        if step % 100 == 0 or step == budget.read_steps:
            progress(f"read {step}/{budget.read_steps} loss {loss.item():.3f}")


@torch.no_grad()
def _features(model: Blip2ForConditionalGeneration, pictures: Pictures) -> Tensor:
    """Vision outputs (N, 1+P, D) of all pictures, once, in float16 since there are many."""
    inputs = (as_input(pictures.pixels[i : i + 128]) for i in range(0, len(pictures.pixels), 128))
    return torch.cat([model.vision_model(pixel_values=x).last_hidden_state.half() for x in inputs])


def tell(
    model: Blip2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    pictures: Pictures,
    budget: Budget,
    seed: int,
    progress: Progress,
) -> None:
    """Stage 3: captions over the frozen vision tower; the language model at half the rate of Q-Former and projection."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3])
    texts = [[f"{text}\n" for text in captions] for captions in pictures.captions]
    fast = [*model.qformer.parameters(), *model.language_projection.parameters(), model.query_tokens]
    optimizer = torch.optim.AdamW(
        [{"params": fast, "lr": 1e-3}, {"params": [*model.language_model.parameters()], "lr": 5e-4}],
        weight_decay=0.02,
        betas=(0.9, 0.98),
    )
    schedule = _schedule(optimizer, budget.tell_steps)
    drop = Random(f"tell {seed}")
    features = _features(model, pictures)
    embed = model.get_input_embeddings()
    for step, rows in enumerate(_order(len(texts), budget.batch, budget.tell_steps, rng), 1):
        chosen = [texts[i][step % len(texts[i])] for i in rows]
        batch = tokenizer(chosen, padding=True, padding_side="right", return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        with thinned(model, drop, 0.1, 0.08), torch.autocast("cpu", torch.bfloat16):
            prefix = model.language_projection(_queries(model, features[rows].float()))
            ones = torch.ones(prefix.shape[:2], dtype=mask.dtype)
            logits = model.language_model(
                inputs_embeds=torch.cat([prefix, embed(ids)], dim=1),
                attention_mask=torch.cat([ones, mask], dim=1),
                use_cache=False,
            ).logits[:, prefix.shape[1] : -1]
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, UNKNOWN)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=UNKNOWN)
        _step(loss, optimizer, schedule)
        if step % 50 == 0 or step == budget.tell_steps:
            progress(f"tell {step}/{budget.tell_steps} loss {loss.item():.3f}")
