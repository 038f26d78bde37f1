"""A trained baseline from its folder, as a function from image files to captions."""

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
from rsopt.core.inference import BATCH, BEAMS, MAX_NEW_TOKENS
from rsopt.data.images import open_image
from rsopt.data.records import Sample
from rsopt.errors import UserError
from rsopt.model.base import load_base
from rsopt.model.vision_features import pixels

Tell = Callable[[Sequence[Path]], list[str]]


def reload(folder: Path, base: str) -> Tell:
    """Captions by the protocol of a baseline that was written to `folder`, over the base it was trained with.

    Raises UserError where there is none.
    """
    if (folder / WEIGHTS).is_file():
        return _bita(folder, base)
    if not (folder / "config.json").is_file():
        raise UserError(f"no baseline in '{folder}': it has neither {WEIGHTS} nor config.json")
    return _puret(folder)


@torch.inference_mode()
def _bita(folder: Path, name: str) -> Tell:
    base = load_base(name)
    bita = bita_base(base, name == "tiny", 0, None if name == "tiny" else HUB["clip"])
    read_bita(bita.model, folder)

    @torch.inference_mode()
    def tell(paths: Sequence[Path]) -> list[str]:
        parts = [bita.model.vision_model(pixels(bita, part)).last_hidden_state for part in _batches(paths)]
        return caption_features(bita.model, bita, torch.cat(parts))

    return tell


def _puret(folder: Path) -> Tell:
    from transformers import AutoImageProcessor

    model = PureT.from_pretrained(folder).eval()
    words = Vocabulary(model.config.words)
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    return partial(_puret_tell, model, words, processor)


@torch.inference_mode()
def _puret_tell(model: PureT, words: Vocabulary, processor: object, paths: Sequence[Path]) -> list[str]:
    told: list[str] = []
    for part in _batches(paths):
        values = processor(images=[open_image(sample) for sample in part], return_tensors="pt")["pixel_values"]  # type: ignore[operator]
        grids = model.vision_model(values).last_hidden_state
        told += words.decode(model.captioned(grids, BEAMS, MAX_NEW_TOKENS))
    return told


def _batches(paths: Sequence[Path]) -> list[list[Sample]]:
    samples = [Sample(str(path), "test", (), path=path) for path in paths]
    return [samples[at : at + BATCH["cpu"]] for at in range(0, len(samples), BATCH["cpu"])]
