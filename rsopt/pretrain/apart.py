"""What runs in a second process: the language model reads while the vision tower learns to see."""

from __future__ import annotations

import sys
import time
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rsopt.pretrain.model import make_model
from rsopt.pretrain.stages import read
from rsopt.pretrain.steps import Budget


def report(started: float, text: str) -> None:
    """A line of progress with the seconds since `started` (of time.time())."""
    sys.stdout.write(f"{time.time() - started:7.1f} s  {text}\n")
    sys.stdout.flush()


def read_words(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], budget: Budget, seed: int, started: float
) -> dict[str, Tensor]:
    """Stage `read` on an untrained language model of this seed; its weights."""
    torch.set_num_threads(1)
    model = make_model(tokenizer, seed)
    read(model.train(), tokenizer, texts, budget, seed, partial(report, started))
    return model.language_model.state_dict()
