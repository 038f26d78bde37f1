"""The stages that pretrain a base on pictures with captions and nothing else. Each is a function that trains the model in place.

They correspond to the stages of a real BLIP-2. `look` trains the vision tower and `see` the Q-Former (BLIP-2's first stage) to
predict which words a picture's captions hold, and its class if that is known (Joulin et al. 1511.02251 learn vision from words
so); contrastive training would take millions of pictures. `read` trains the language model on the captions' text. `tell` trains
captions over the frozen vision tower (BLIP-2's second stage). Each step sees new random views of its pictures, and whole layers
are omitted at random (stochastic depth, 1603.09382; LayerDrop, 1909.11556), so that the model depends on no single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerBase

from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.data.records import Sample
from rsopt.pretrain.checkpoints import Checkpoints, run_stage
from rsopt.pretrain.common import Progress, queried, without_random_layers
from rsopt.pretrain.pictures import Pictures
from rsopt.pretrain.word_heads import Labels, Vocabulary, WordHeads
from rsopt.training.dataset import IGNORE

LEFT_OUT = 0.03  # probability that a layer is omitted in a step, as for tiny


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Steps of each stage, pictures a step, and captions a step of `read`.

    Chosen on a quarter of RSICD, where more steps of `tell` raised the loss of the validation split.
    """

    look: int = 2400
    see: int = 1400
    read: int = 400
    tell: int = 900
    batch: int = 32
    texts: int = 64

    def scaled(self, scale: float) -> StagePlan:
        """Returns the plan with the given share of steps, at least 2 of each stage."""
        look, see, read, tell = (max(2, round(steps * scale)) for steps in (self.look, self.see, self.read, self.tell))
        return StagePlan(look, see, read, tell, self.batch, self.texts)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the vision stages learn from: training pictures, their labels, and where checkpoints and progress go."""

    pictures: Pictures
    labels: Labels
    plan: StagePlan
    seed: int
    checkpoints: Checkpoints
    progress: Progress

    def draw(self, stage: int, step: int) -> tuple[np.ndarray, Labels]:
        """Seeds torch for a step, and returns its pictures' rows and labels. Depends on nothing but seed, stage and step."""
        rows = _drawn(self.seed, stage, step, len(self.pictures.samples), self.plan.batch)
        return rows, Labels(self.labels.words[rows], self.labels.classes[rows])


def look(model: Blip2ForConditionalGeneration, heads: WordHeads, lesson: Lesson) -> None:
    """Stage 0: trains the vision tower to predict words and class from the mean of its patches."""
    trained = nn.ModuleList([model.vision_model, heads.patches])
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))

    def loss(step: int) -> Tensor:
        rows, labels = lesson.draw(0, step)
        seen = model.vision_model(pixel_values=lesson.pictures.augmented(rows)).last_hidden_state
        return heads.patch_loss(seen, labels)

    run_stage("look", trained, optimizer, lesson.plan.look, loss, lesson.checkpoints, lesson.progress)


def see(model: Blip2ForConditionalGeneration, heads: WordHeads, lesson: Lesson) -> None:
    """Stage 1: trains vision tower and Q-Former to predict words and class from all queries."""
    trained = nn.ModuleList([model.vision_model, model.qformer, _Holder(model.query_tokens), heads])
    optimizer = torch.optim.AdamW(trained.parameters(), lr=6e-4, weight_decay=0.05, betas=(0.9, 0.98))

    def loss(step: int) -> Tensor:
        rows, labels = lesson.draw(1, step)
        omitted = Random(f"see {lesson.seed} {step}")
        with without_random_layers(model, omitted, 0.0, LEFT_OUT):
            seen = model.vision_model(pixel_values=lesson.pictures.augmented(rows)).last_hidden_state
            queries = queried(model, seen)
        return heads.query_loss(queries, labels) + 0.5 * heads.patch_loss(seen, labels)

    run_stage("see", trained, optimizer, lesson.plan.see, loss, lesson.checkpoints, lesson.progress)


def read(
    model: Blip2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    plan: StagePlan,
    seed: int,
    checkpoints: Checkpoints,
    progress: Progress,
) -> None:
    """Stage 2: trains the language model on text alone.

    Args:
        model: The model, whose language model is trained in place.
        tokenizer: Its tokenizer.
        texts: Captions.
        plan: Steps and captions a step.
        seed: Seed of the drawn texts and of omitted layers.
        checkpoints: Where checkpoints are stored.
        progress: Called with lines of progress.
    """
    llm = model.language_model
    optimizer = torch.optim.AdamW(llm.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))

    def loss(step: int) -> Tensor:
        ids, mask = _token_ids(tokenizer, [texts[i] for i in _drawn(seed, 2, step, len(texts), plan.texts)])
        omitted = Random(f"read {seed} {step}")
        with without_random_layers(model, omitted, LEFT_OUT, 0.0):
            logits = llm(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        return _caption_loss(logits, ids, mask)

    run_stage("read", llm, optimizer, plan.read, loss, checkpoints, progress)


def tell(
    model: Blip2ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, heads: WordHeads, lesson: Lesson, held_out: Pictures
) -> None:
    """Stage 3: trains captions over the frozen vision tower; the language model has half the learning rate of the rest.

    `held_out` are pictures of the validation split. Their loss is shown and decides nothing.
    """
    llm, embed = model.language_model, model.get_input_embeddings()
    fast = nn.ModuleList([model.qformer, model.language_projection, _Holder(model.query_tokens), heads.queries])
    groups = [{"params": list(fast.parameters()), "lr": 6e-4}, {"params": list(llm.parameters()), "lr": 3e-4}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05, betas=(0.9, 0.98))

    def caption_loss(seen: Tensor, samples: Sequence[Sample], rng: Random) -> tuple[Tensor, Tensor]:
        chosen = [rng.choices([c.text for c in s.captions], [c.count for c in s.captions])[0] for s in samples]
        ids, mask = _token_ids(tokenizer, chosen)
        queries = queried(model, seen)
        prefix = model.language_projection(queries)
        logits = llm(
            inputs_embeds=torch.cat([prefix, embed(ids)], dim=1),
            attention_mask=torch.cat([torch.ones(prefix.shape[:2], dtype=mask.dtype), mask], dim=1),
            use_cache=False,
        ).logits[:, prefix.shape[1] : -1]
        return _caption_loss(logits, ids, mask), queries

    def loss(step: int) -> Tensor:
        rows, labels = lesson.draw(3, step)
        rng = Random(f"tell {lesson.seed} {step}")
        with torch.no_grad():
            seen = model.vision_model(pixel_values=lesson.pictures.augmented(rows)).last_hidden_state
        with without_random_layers(model, rng, LEFT_OUT, LEFT_OUT):
            value, queries = caption_loss(seen, [lesson.pictures.samples[i] for i in rows], rng)
        # the labels keep the Q-Former from forgetting what the language model cannot read yet
        return value + 0.3 * heads.query_loss(queries, labels)

    @torch.no_grad()
    def validation() -> str:
        rng, losses = Random("validation"), []
        for first in range(0, len(held_out.samples), 64):
            rows = range(first, min(first + 64, len(held_out.samples)))
            seen = model.vision_model(pixel_values=held_out.plain(rows)).last_hidden_state
            losses.append(caption_loss(seen, [held_out.samples[i] for i in rows], rng)[0].item() * len(rows))
        return f"caption loss on val {sum(losses) / len(held_out.samples):.3f}"

    trained = nn.ModuleList([fast, llm])
    run_stage("tell", trained, optimizer, lesson.plan.tell, loss, lesson.checkpoints, lesson.progress, validation)


def labelled(pictures: Pictures) -> tuple[Vocabulary, Labels]:
    """Returns the words and classes to learn from pictures of the training split, and their labels."""
    vocabulary = Vocabulary.of(pictures.samples)
    return vocabulary, vocabulary.labels(pictures.samples)


class _Holder(nn.Module):
    """Makes a parameter part of a module's state."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__()
        self.parameter = parameter


def _drawn(seed: int, stage: int, step: int, count: int, batch: int) -> np.ndarray:
    """Seeds torch for a step, and returns different rows of `count`."""
    torch.manual_seed(int(np.random.SeedSequence([seed, stage, step]).generate_state(1)[0]))
    return np.random.default_rng([seed, stage, step, 1]).choice(count, min(batch, count), replace=False)


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask (B, S) of `</s> text newline`, at most CAPTION_TOKENS tokens each."""
    batch = tokenizer(
        [f"{text}\n" for text in texts],
        padding=True,
        pad_to_multiple_of=8,  # few shapes: the CPU's kernels are compiled for each
        padding_side="right",
        truncation=True,
        max_length=CAPTION_TOKENS,
        return_tensors="pt",
    )
    return batch["input_ids"], batch["attention_mask"]


def _caption_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean loss of the tokens after the first, given logits (B, S-1, V)."""
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORE)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
