"""Loads a trained baseline from its folder, as a function from image files to captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from rsopt.baselines.bita.model import WEIGHTS, bita_base, read_bita
from rsopt.baselines.puret.model import PureT
from rsopt.baselines.puret.vocabulary import Vocabulary
from rsopt.baselines.vision_towers import HUB
from rsopt.caption.decoders import caption_features
from rsopt.core.inference import BATCH, Generation
from rsopt.data.images import open_image
from rsopt.data.records import Sample
from rsopt.errors import UserError
from rsopt.model.base import load_base
from rsopt.model.vision_features import pixels

CaptionFiles = Callable[[Sequence[Path]], list[str]]  # one caption for each image file


def load_baseline(folder: Path, base: str) -> CaptionFiles:
    """Loads the baseline that was written to `folder` and trained over `base`. Its captions follow the protocol.

    Raises UserError where the folder holds no baseline.
    """
    if (folder / WEIGHTS).is_file():
        return _load_bita(folder, base)
    if not (folder / "config.json").is_file():
        raise UserError(f"no baseline in '{folder}': it has neither {WEIGHTS} nor config.json")
    return _load_puret(folder)


@torch.inference_mode()
def _load_bita(folder: Path, name: str) -> CaptionFiles:
    base = load_base(name)
    bita = bita_base(base, name == "tiny", 0, None if name == "tiny" else HUB["clip"])
    read_bita(bita.model, folder)

    @torch.inference_mode()
    def caption(paths: Sequence[Path]) -> list[str]:
        parts = [bita.model.vision_model(pixels(bita, part)).last_hidden_state for part in _batches(paths)]
        return caption_features(bita.model, bita, torch.cat(parts))

    return caption


def _load_puret(folder: Path) -> CaptionFiles:
    from transformers import AutoImageProcessor

    model = PureT.from_pretrained(folder).eval()
    words = Vocabulary(model.config.words)
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    return partial(_caption_puret, model, words, processor)


@torch.inference_mode()
def _caption_puret(model: PureT, words: Vocabulary, processor: object, paths: Sequence[Path]) -> list[str]:
    captions: list[str] = []
    for part in _batches(paths):
        values = processor(images=[open_image(sample) for sample in part], return_tensors="pt")["pixel_values"]  # type: ignore[operator]
        grids = model.vision_model(values).last_hidden_state
        captions += words.decode(model.caption(grids, Generation()))
    return captions


def _batches(paths: Sequence[Path]) -> list[list[Sample]]:
    samples = [Sample(str(path), "test", (), path=path) for path in paths]
    return [samples[at : at + BATCH["cpu"]] for at in range(0, len(samples), BATCH["cpu"])]
