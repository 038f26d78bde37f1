"""The stages of pretraining, each a function that trains the model in place.

They correspond to the stages of a real BLIP-2. `look` trains the vision tower, `see` the Q-Former (BLIP-2's first stage); both
use labels from the renderer, which takes thousands of times fewer pictures than contrastive training. `read` trains the language
model on text. `tell` trains captions over a frozen vision tower (BLIP-2's second stage). Whole layers are omitted at random
(stochastic depth, 1603.09382; LayerDrop, 1909.11556), so that the model does not depend on a single one.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerBase

from research.tiny_world.corpus import UNKNOWN, Pictures
from research.tiny_world.probe_heads import Heads, Targets, attention_losses
from rsopt.pretrain.common import Budget, Progress, as_input, batches, queried, schedule_of, take_step, without_random_layers

# Probability that a layer is omitted in a step. At 0.1, half of the LLM's layers caption as well as all of them once they are
# tuned, which leaves a search over depths no trade-off.
LEFT_OUT = 0.03


def look(
    model: Blip2ForConditionalGeneration, crowds: Pictures, heads: Heads, budget: Budget, seed: int, progress: Progress
) -> None:
    """Stage 0: trains the vision tower to predict what each patch shows, on rotated and mirrored crowded pictures.

    Args:
        model: The model, trained in place.
        crowds: Pictures full of things, with dense labels.
        heads: Probe heads, trained too.
        budget: Steps and batch size.
        seed: Seed of the order of pictures.
        progress: Called with lines of progress.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    parts = [*model.vision_model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = schedule_of(optimizer, budget.look_steps)
    for step, rows in enumerate(batches(len(crowds.pixels), budget.batch, budget.look_steps, rng), 1):
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        known = Targets.of(crowds, rows).turned(turn, flip)
        pixels = torch.rot90(as_input(crowds.pixels[rows]), turn, (2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            pixels = (pixels.flip(3) if flip else pixels).contiguous()
            patches = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:]
        loss = heads.patch_loss(patches.float(), known)
        take_step(loss, optimizer, schedule)
        if step % 100 == 0 or step == budget.look_steps:
            kinds = ("plane", "car", "boat", "tank")
            shares = [f"{kind} {heads.centre_recall(patches.detach().float(), known, kind):.2f}" for kind in kinds]
            progress(f"look {step}/{budget.look_steps} loss {loss.item():.3f} recall of centres: {' '.join(shares)}")


def see(
    model: Blip2ForConditionalGeneration, pictures: Pictures, heads: Heads, budget: Budget, seed: int, progress: Progress
) -> None:
    """Stage 1: trains vision tower and Q-Former to predict kinds, places, numbers and colours of things.

    Args:
        model: The model, trained in place.
        pictures: Pictures with labels.
        heads: Probe heads, trained too.
        budget: Steps and batch size.
        seed: Seed of the order of pictures and of omitted layers.
        progress: Called with lines of progress.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    parts = [*model.vision_model.parameters(), *model.qformer.parameters(), model.query_tokens, *heads.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=1.2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = schedule_of(optimizer, budget.see_steps)
    drop = Random(f"see {seed}")
    for step, rows in enumerate(batches(len(pictures.pixels), budget.batch, budget.see_steps, rng), 1):
        known = Targets.of(pictures, rows)
        with (
            without_random_layers(model, drop, 0.0, LEFT_OUT),
            attention_losses(model, heads.grid) as terms,
            torch.autocast("cpu", torch.bfloat16),
        ):
            seen = model.vision_model(pixel_values=as_input(pictures.pixels[rows])).last_hidden_state
            queries = queried(model, seen)
        loss = heads.loss(seen.float(), queries.float(), known) + torch.stack(terms).mean()
        take_step(loss, optimizer, schedule)
        if step % 50 == 0 or step == budget.see_steps:
            accuracies = heads.report(queries.detach().float(), known)
            progress(f"see {step}/{budget.see_steps} loss {loss.item():.3f} attention {terms[0].item():.2f} {accuracies}")


def _rows(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, width: int) -> Tensor:
    """Texts, each `</s> ... newline`, concatenated and cut into rows (R, width)."""
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
    """Stage 2: trains the language model on text alone.

    Args:
        model: The model, whose language model is trained in place.
        tokenizer: Its tokenizer.
        texts: Sentences and captions.
        budget: Steps and rows of text a step.
        seed: Seed of the order of rows and of omitted layers.
        progress: Called with lines of progress.
    """
    torch.manual_seed(seed)
    table = _rows(texts, tokenizer, 96)
    llm = model.language_model
    optimizer = torch.optim.AdamW(llm.parameters(), lr=2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = schedule_of(optimizer, budget.read_steps)
    drop = Random(f"read {seed}")
    rng = np.random.default_rng([seed, 2])
    for step, rows in enumerate(batches(len(table), min(budget.rows, len(table)), budget.read_steps, rng), 1):
        ids = table[rows]
        with without_random_layers(model, drop, LEFT_OUT, 0.0), torch.autocast("cpu", torch.bfloat16):
            loss = llm(input_ids=ids, labels=ids, use_cache=False).loss
        take_step(loss, optimizer, schedule)
        if step % 100 == 0 or step == budget.read_steps:
            progress(f"read {step}/{budget.read_steps} loss {loss.item():.3f}")


@torch.no_grad()
def _features(model: Blip2ForConditionalGeneration, pictures: Pictures) -> Tensor:
    """Vision outputs (N, 1+P, D) of all pictures, in float16 to save memory."""
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
    """Stage 3: trains captions over the frozen vision tower; the language model has half the learning rate of the rest.

    Args:
        model: The model, trained in place.
        tokenizer: Its tokenizer.
        pictures: Pictures with captions and labels.
        heads: Probe heads, trained too.
        sentences: Plain text, mixed in.
        budget: Steps and batch size.
        seed: Seed of the order of pictures, text and omitted layers.
        progress: Called with lines of progress.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3])
    table, llm = _rows(sentences, tokenizer, 96), model.language_model
    texts = [[f"{text}\n" for text in captions] for captions in pictures.captions]
    fast = [*model.qformer.parameters(), *model.language_projection.parameters(), model.query_tokens, *heads.parameters()]
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
        with without_random_layers(model, drop, LEFT_OUT, LEFT_OUT), torch.autocast("cpu", torch.bfloat16):
            queries = queried(model, features[rows].float())
            prefix = model.language_projection(queries)
            ones = torch.ones(prefix.shape[:2], dtype=mask.dtype)
            logits = llm(
                inputs_embeds=torch.cat([prefix, embed(ids)], dim=1),
                attention_mask=torch.cat([ones, mask], dim=1),
                use_cache=False,
            ).logits[:, prefix.shape[1] : -1]
            # a few rows of plain text, so that the language model does not forget words that no caption holds
            rows_of_text = table[rng.integers(len(table), size=min(4, len(table)))]
            text_loss = llm(input_ids=rows_of_text, labels=rows_of_text, use_cache=False).loss
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, UNKNOWN)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=UNKNOWN)
        # the probe loss keeps the Q-Former from forgetting what the language model cannot read yet
        probe_loss = heads.query_loss(queries.float(), Targets.of(pictures, rows))
        take_step(loss + 0.3 * probe_loss + 0.3 * text_loss, optimizer, schedule)
        if step % 50 == 0 or step == budget.tell_steps:
            progress(f"tell {step}/{budget.tell_steps} loss {loss.item():.3f} text {text_loss.item():.3f}")
