"""`python -m rsopt.pretrain --out FOLDER`: draw pictures, write sentences, train the tiny base from nothing, save it."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from rsopt.pretrain.apart import read_words, report
from rsopt.pretrain.corpus import draw_corpus, draw_sentences
from rsopt.pretrain.model import make_model, make_processor, save, train_tokenizer
from rsopt.pretrain.stages import look, see, tell
from rsopt.pretrain.steps import Budget


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the base is saved."""
    parser = argparse.ArgumentParser(
        prog="python -m rsopt.pretrain",
        description="Pretrain the tiny base on general rendered pictures and sentences. Takes about 20 minutes on 2 cores.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the base into")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full budget of pictures and steps")
    options = parser.parse_args(arguments)
    if options.scale <= 0:
        parser.error("--scale must be above 0")
    # One thread: the steps are so small that a second one mostly waits, and sums in another order give other weights
    torch.set_num_threads(1)
    started = time.time()
    progress = partial(report, started)
    budget = Budget().scaled(options.scale)
    pictures = draw_corpus(budget.pictures, options.seed, 2, progress)
    crowds = draw_corpus(budget.crowds, options.seed, 2, progress, crowds=True)
    sentences = draw_sentences(budget.sentences, options.seed)
    texts = [*sentences, *(text for captions in pictures.captions for text in captions)]
    tokenizer = train_tokenizer(texts)
    model = make_model(tokenizer, options.seed)
    progress(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    model.train()
    # What it sees and what it reads share no weights before captions join them: two processes, one thread each
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        words = pool.submit(read_words, tokenizer, texts, budget, options.seed, started)
        look(model, crowds, budget, options.seed, progress)
        see(model, pictures, budget, options.seed, progress)
        model.language_model.load_state_dict(words.result())
    tell(model, tokenizer, pictures, budget, options.seed, progress)
    save(model.eval(), make_processor(tokenizer), options.out)
    progress(f"saved {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
