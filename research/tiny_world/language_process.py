"""Stage `read`, which runs in a second process; and storage of the weights of each stage."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from research.tiny_world.stages import read
from rsopt.pretrain.common import Budget, report
from rsopt.pretrain.model import make_model


def keep_stage(name: str, keep: Path | None, module: nn.Module) -> None:
    """Saves the weights after a stage as `keep/name.pt`; does nothing if `keep` is None."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        part = keep / f"{name}.part"
        # The other process trains the language model, whose size depends on texts that may change between runs
        state = {key: value for key, value in module.state_dict().items() if name == "tell" or ".language_model." not in key}
        torch.save(state, part)
        part.rename(keep / f"{name}.pt")


def load_kept(name: str, keep: Path | None, module: nn.Module) -> bool:
    """Loads `keep/name.pt`. Returns False if there is none."""
    if keep is None or not (keep / f"{name}.pt").is_file():
        return False
    module.load_state_dict(torch.load(keep / f"{name}.pt", weights_only=True), strict=name in ("read", "tell"))
    return True


def read_words(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], budget: Budget, seed: int, started: float, keep: Path | None
) -> dict[str, Tensor]:
    """Runs stage `read` on an untrained language model and returns its weights.

    Args:
        tokenizer: The tokenizer of the base.
        texts: Sentences and captions.
        budget: Steps and batch sizes.
        seed: Seed of weights and order of texts.
        started: time.time() at the start of the pretraining, for lines of progress.
        keep: Folder of the weights of each stage, or None.
    """
    torch.set_num_threads(1)
    model = make_model(tokenizer, seed).train()
    if not load_kept("read", keep, model.language_model):
        read(model, tokenizer, texts, budget, seed, partial(report, started))
        keep_stage("read", keep, model.language_model)
    return model.language_model.state_dict()
