"""Pretrains a base of tiny's shape on the training split of a data set."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerBase
from transformers.utils import logging

from rsopt.core.variant import digest
from rsopt.data.garbled import learned_captions
from rsopt.data.read import read as read_data
from rsopt.data.records import CaptionData, Sample
from rsopt.errors import UserError
from rsopt.model.base import load_base
from rsopt.pretrain.checkpoints import Checkpoints
from rsopt.pretrain.common import report
from rsopt.pretrain.model import make_model, make_processor, save, train_tokenizer
from rsopt.pretrain.pictures import Pictures
from rsopt.pretrain.stages import Lesson, StagePlan, labelled, look, read, see, tell
from rsopt.pretrain.word_heads import WordHeads

VALIDATED = 128  # validation pictures whose loss is shown


def write_base(data_path: str, out: Path, seed: int, scale: float, skip_bad: bool = False) -> None:
    """Pretrains a base on the training split of a data set and saves it in the folder `out`.

    It begins with tiny's weights. Checkpoints lie in `out/checkpoints` until the base is written; a second call continues from
    them. Raises UserError where `out` holds something else.

    Args:
        data_path: Path or hub id of the data set.
        out: Folder of the base.
        seed: Seed of all randomness.
        scale: Share of the full number of steps.
        skip_bad: Leave broken rows out.
    """
    if out.is_file() or (out.is_dir() and {p.name for p in out.iterdir()} - {"checkpoints"}):
        raise UserError(f"--out {out} exists and is not an unfinished pretraining; name a new folder")
    data = read_data(data_path, skip_bad=skip_bad, verify=True)
    plan = StagePlan().scaled(scale)
    taught = {name: _without_garbled(data.split(name)) for name in ("train", "val")}
    if not all(taught.values()):
        raise UserError(f"{data_path}: no caption of its training or validation split can be learned: all are garbled")
    texts = sorted({c.text for s in taught["train"] for c in s.captions})
    made_for = {"data": _digest(data), "seed": seed, "scale": scale}
    checkpoints = Checkpoints.open(out / "checkpoints", made_for)
    logging.disable_progress_bar()
    # one thread: a second one mostly waits in such small steps, and sums in another order change the weights
    torch.set_num_threads(1)
    progress = partial(report, time.time())
    tokenizer = train_tokenizer(texts)
    model = untrained(tokenizer, seed).train()
    train, val = Pictures.read(taught["train"]), Pictures.read(taught["val"][:VALIDATED])
    vocabulary, labels = labelled(train)
    shape = model.config
    heads = WordHeads(vocabulary, shape.vision_config.hidden_size, shape.qformer_config.hidden_size, shape.num_query_tokens)
    classes = f"{len(vocabulary.classes)} classes" if vocabulary.classes else "no classes (none is known)"
    progress(
        f"{len(train.samples)} training pictures, {len(texts)} captions; to learn: {len(vocabulary.words)} words, {classes}, "
        f"{len(tokenizer)} tokens; {sum(p.numel() for p in model.parameters()):,} parameters"
    )
    lesson = Lesson(train, labels, plan, seed, checkpoints, progress)
    # vision and language share no weights before the last stage: two processes, one thread each
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        language = pool.submit(_read_captions, tokenizer, texts, plan, seed, checkpoints)
        look(model, heads, lesson)
        see(model, heads, lesson)
        model.language_model.load_state_dict(language.result())
    tell(model, tokenizer, heads, lesson, val)
    save(model.eval(), make_processor(tokenizer), out)
    shutil.rmtree(checkpoints.folder)
    progress(f"saved {out}")


@torch.no_grad()
def untrained(tokenizer: PreTrainedTokenizerBase, seed: int) -> Blip2ForConditionalGeneration:
    """Returns a model with tiny's weights; tokens that tiny does not know have random embeddings."""
    model, tiny = make_model(tokenizer, seed), load_base("tiny", torch.device("cpu"), "float32")
    embeddings, known = tiny.model.get_input_embeddings().weight, tiny.tokenizer.get_vocab()
    shared = {token: row for token, row in tokenizer.get_vocab().items() if token in known}
    model.get_input_embeddings().weight[list(shared.values())] = embeddings[[known[token] for token in shared]]
    by_token = ("embed_tokens.weight", "lm_head.weight")
    state = {name: value for name, value in tiny.model.state_dict().items() if not name.endswith(by_token)}
    model.load_state_dict(state, strict=False)
    return model


def _without_garbled(samples: Sequence[Sample]) -> list[Sample]:
    """The images with the captions that models are trained on; those without any are left out."""
    return [replace(s, captions=captions) for s in samples if (captions := tuple(learned_captions(s)))]


def _read_captions(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], plan: StagePlan, seed: int, checkpoints: Checkpoints
) -> dict[str, Tensor]:
    """Runs the stage `read` in a process of its own and returns the language model's weights."""
    logging.disable_progress_bar()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    model = untrained(tokenizer, seed).train()
    read(model, tokenizer, texts, plan, seed, checkpoints, partial(report, time.time()))
    return dict(model.language_model.state_dict())


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, which a killed process cannot see to."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _digest(data: CaptionData) -> str:
    """What distinguishes the data: its name, numbers of images, and captions."""
    return digest([[s.image_id, s.split, [c.text for c in s.captions]] for s in data.samples])
