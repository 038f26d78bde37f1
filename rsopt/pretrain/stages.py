"""The stages of pretraining, each a function that trains the model in place.

They stand for what a real BLIP-2 is made of: `look` for its vision tower's own training, `see` for the first stage of its
Q-Former (both with labels that the renderer knows, which takes thousands of times fewer pictures than contrastive), `read`
for OPT's training on text, `tell` for BLIP-2's second stage, captions through the projection over a frozen vision tower. Whole
layers are left out at random (stochastic depth, 1603.09382; LayerDrop, 1909.11556), so that no single layer is all.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerBase

from rsopt.pretrain.common import Budget, Progress, as_input, batches, queried, schedule_of, take_step, thinned
from rsopt.pretrain.corpus import UNKNOWN, Pictures
from rsopt.pretrain.probe_heads import Heads, Known, looking

# How often a layer is left out of a step. At 0.1 half of the LLM's layers, tuned, caption as well as all of them, and a
# search over depths has nothing to trade.
LEFT_OUT = 0.03


def look(
    model: Blip2ForConditionalGeneration, crowds: Pictures, heads: Heads, budget: Budget, seed: int, progress: Progress
) -> None:
    """Stage 0: the vision tower alone learns what each patch shows, from crammed pictures, turned and mirrored."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    parts = [*model.vision_model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = schedule_of(optimizer, budget.look_steps)
    for step, rows in enumerate(batches(len(crowds.pixels), budget.batch, budget.look_steps, rng), 1):
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        known = Known.of(crowds, rows).turned(turn, flip)
        pixels = torch.rot90(as_input(crowds.pixels[rows]), turn, (2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            pixels = (pixels.flip(3) if flip else pixels).contiguous()
            patches = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:]
        loss = heads.patch_loss(patches.float(), known)
        take_step(loss, optimizer, schedule)
        if step % 100 == 0 or step == budget.look_steps:
            kinds = ("plane", "car", "boat", "tank")
            shares = [f"{kind} {heads.centre_recall(patches.detach().float(), known, kind):.2f}" for kind in kinds]
            progress(f"look {step}/{budget.look_steps} loss {loss.item():.3f} centres found: {' '.join(shares)}")


def see(
    model: Blip2ForConditionalGeneration,
    pictures: Pictures,
    heads: Heads,
    budget: Budget,
    seed: int,
    progress: Progress,
) -> None:
    """Stage 1: vision tower and Q-Former learn what is where, how many and of which colour."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    parts = [*model.vision_model.parameters(), *model.qformer.parameters(), model.query_tokens, *heads.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=1.2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = schedule_of(optimizer, budget.see_steps)
    drop = Random(f"see {seed}")
    for step, rows in enumerate(batches(len(pictures.pixels), budget.batch, budget.see_steps, rng), 1):
        known = Known.of(pictures, rows)
        with (
            thinned(model, drop, 0.0, LEFT_OUT),
            looking(model, heads.grid) as away,
            torch.autocast("cpu", torch.bfloat16),
        ):
            seen = model.vision_model(pixel_values=as_input(pictures.pixels[rows])).last_hidden_state
            queries = queried(model, seen)
        loss = heads.loss(seen.float(), queries.float(), known) + torch.stack(away).mean()
        take_step(loss, optimizer, schedule)
        if step % 50 == 0 or step == budget.see_steps:
            told = heads.report(queries.detach().float(), known)
            progress(f"see {step}/{budget.see_steps} loss {loss.item():.3f} looks away {away[0].item():.2f} {told}")


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
    schedule = schedule_of(optimizer, budget.read_steps)
    drop = Random(f"read {seed}")
    rng = np.random.default_rng([seed, 2])
    for step, rows in enumerate(batches(len(table), min(budget.rows, len(table)), budget.read_steps, rng), 1):
        ids = table[rows]
        with thinned(model, drop, LEFT_OUT, 0.0), torch.autocast("cpu", torch.bfloat16):
            loss = llm(input_ids=ids, labels=ids, use_cache=False).loss
        take_step(loss, optimizer, schedule)
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
    heads: Heads,
    sentences: list[str],
    budget: Budget,
    seed: int,
    progress: Progress,
) -> None:
    """Stage 3: captions over the frozen vision tower; the language model at half the rate of Q-Former and projection."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3])
    table, llm = _rows(sentences, tokenizer, 96), model.language_model
    texts = [[f"{text}\n" for text in captions] for captions in pictures.captions]
    fast = [
        *model.qformer.parameters(),
        *model.language_projection.parameters(),
        model.query_tokens,
        *heads.parameters(),
    ]
    optimizer = torch.optim.AdamW(
        [{"params": fast, "lr": 1e-3}, {"params": [*model.language_model.parameters()], "lr": 5e-4}],
        weight_decay=0.02,
        betas=(0.9, 0.98),
    )
    schedule = schedule_of(optimizer, budget.tell_steps)
    drop = Random(f"tell {seed}")
    features = _features(model, pictures)
    embed = model.get_input_embeddings()
    for step, rows in enumerate(batches(len(texts), budget.batch, budget.tell_steps, rng), 1):
        chosen = [texts[i][step % len(texts[i])] for i in rows]
        batch = tokenizer(chosen, padding=True, padding_side="right", return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        with thinned(model, drop, LEFT_OUT, LEFT_OUT), torch.autocast("cpu", torch.bfloat16):
            queries = queried(model, features[rows].float())
            prefix = model.language_projection(queries)
            ones = torch.ones(prefix.shape[:2], dtype=mask.dtype)
            logits = llm(
                inputs_embeds=torch.cat([prefix, embed(ids)], dim=1),
                attention_mask=torch.cat([ones, mask], dim=1),
                use_cache=False,
            ).logits[:, prefix.shape[1] : -1]
            # A few rows of plain text, or the language model would unlearn all words that no picture's caption holds
            read_on = table[rng.integers(len(table), size=min(4, len(table)))]
            kept = llm(input_ids=read_on, labels=read_on, use_cache=False).loss
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, UNKNOWN)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=UNKNOWN)
        # The facts go on being asked: what the language model cannot read yet must not be forgotten meanwhile
        asked = heads.query_loss(queries.float(), Known.of(pictures, rows))
        take_step(loss + 0.3 * asked + 0.3 * kept, optimizer, schedule)
        if step % 50 == 0 or step == budget.tell_steps:
            progress(f"tell {step}/{budget.tell_steps} loss {loss.item():.3f} text {kept.item():.3f}")
