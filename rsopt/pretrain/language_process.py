"""What runs in a second process: the language model reads while the vision tower learns to see. And what stages leave."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rsopt.pretrain.common import Budget
from rsopt.pretrain.model import make_model
from rsopt.pretrain.stages import read


def report(started: float, text: str) -> None:
    """A line of progress with the seconds since `started` (of time.time())."""
    sys.stdout.write(f"{time.time() - started:7.1f} s  {text}\n")
    sys.stdout.flush()


def keep_stage(name: str, keep: Path | None, module: nn.Module) -> None:
    """Save what a stage learnt as `keep/name.pt`, if it is to be kept."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        part = keep / f"{name}.part"
        # The language model is the other process's: its size depends on the texts, which may change meanwhile
        own = {
            key: value for key, value in module.state_dict().items() if name == "tell" or ".language_model." not in key
        }
        torch.save(own, part)
        part.rename(keep / f"{name}.pt")


def load_kept(name: str, keep: Path | None, module: nn.Module) -> bool:
    """Load `keep/name.pt` if there is one; whether there was."""
    if keep is None or not (keep / f"{name}.pt").is_file():
        return False
    module.load_state_dict(torch.load(keep / f"{name}.pt", weights_only=True), strict=name in ("read", "tell"))
    return True


def read_words(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], budget: Budget, seed: int, started: float, keep: Path | None
) -> dict[str, Tensor]:
    """Stage `read` on an untrained language model of this seed; its weights."""
    torch.set_num_threads(1)
    model = make_model(tokenizer, seed).train()
    if not load_kept("read", keep, model.language_model):
        read(model, tokenizer, texts, budget, seed, partial(report, started))
        keep_stage("read", keep, model.language_model)
    return model.language_model.state_dict()
