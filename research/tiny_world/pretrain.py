"""Pretrain the tiny base from random weights: generated pictures and sentences, then the stages in order."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from research.tiny_world.corpus import draw_corpus, draw_sentences
from research.tiny_world.language_process import keep_stage, load_kept, read_words
from research.tiny_world.probe_heads import Heads
from research.tiny_world.stages import look, see, tell
from rsopt.pretrain.common import Budget, report
from rsopt.pretrain.model import make_model, make_processor, save, train_tokenizer


def write_base(out: Path, seed: int, scale: float, keep: Path | None) -> None:
    """Pretrains a base with `scale` times the full budget of pictures and steps, and saves it in the folder `out`."""
    # one thread: a second one mostly waits in such small steps, and sums in another order change the weights
    torch.set_num_threads(1)
    started = time.time()
    model, processor = pretrain(Budget().scaled(scale), seed, keep, started)
    save(model.eval(), processor, out)
    report(started, f"saved {out}")


def pretrain(
    budget: Budget, seed: int, keep: Path | None, started: float
) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """Runs all stages in order. Lines of progress count seconds from `started` (time.time()); `keep` stores weights by stage."""
    progress = partial(report, started)
    pictures = draw_corpus(budget.pictures, seed, 2, progress)
    crowds = draw_corpus(budget.crowds, seed, 2, progress, crowds=True)
    sentences = draw_sentences(budget.sentences, seed)
    texts = [*sentences, *(text for captions in pictures.captions for text in captions)]
    tokenizer = train_tokenizer(texts)
    model = make_model(tokenizer, seed).train()
    progress(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    torch.manual_seed(seed)  # again: how many random numbers the model took depends on the number of tokens
    heads = Heads.of(model)
    both = nn.ModuleList([model, heads])
    # vision and language share no weights before the last stage: two processes, one thread each
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        words = pool.submit(read_words, tokenizer, texts, budget, seed, started, keep)
        _stage("look", keep, both, lambda: look(model, crowds, heads, budget, seed, progress))
        _stage("see", keep, both, lambda: see(model, pictures, heads, budget, seed, progress))
        model.language_model.load_state_dict(words.result())
    _stage("tell", keep, both, lambda: tell(model, tokenizer, pictures, heads, sentences, budget, seed, progress))
    return model, make_processor(tokenizer)


def _stage(name: str, keep: Path | None, both: nn.Module, train: Callable[[], None]) -> None:
    """Runs a stage, or loads its weights if they are stored."""
    if load_kept(name, keep, both):
        return
    train()
    keep_stage(name, keep, both)
