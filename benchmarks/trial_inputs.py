"""What one trial works on: a base, images, captions and a score; random images and captions for bases without weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.bases import config_of, worker_on
from rsopt.core.variant import Dtype
from rsopt.model.base import DTYPES, Base
from rsopt.model.random_base import random_base
from rsopt.training.dataset import TokenCaption
from rsopt.training.synthetic_captions import random_captions

Score = Callable[[Mapping[int, str]], float]  # captions by image -> CIDEr x100


@dataclass(frozen=True)
class TrialInputs:
    """Images 0 to `images` - 1: the first `train` are trained on, the others captioned.

    `pixels` returns images (B, 3, height, width) in float32 on the CPU. `score` uses this project's scorer, `stock_score`
    pycocoevalcap; both are None for random captions.
    """

    base: Base
    images: int
    train: int
    pixels: Callable[[Sequence[int]], torch.Tensor]
    captions: Sequence[Sequence[TokenCaption]]
    score: Score | None = None
    stock_score: Score | None = None

    @property
    def pairs(self) -> list[tuple[int, tuple[int, ...]]]:
        """(image, caption ids) of every caption of the training images, repeated captions as often as they occur."""
        return [(i, c.ids) for i in range(self.train) for c in self.captions[i] for _ in range(int(c.weight))]


def base_without_dropout(name: str, device: torch.device, dtype: Dtype) -> Base:
    """A base of that shape with random weights; without dropout, so that the losses of two trainings can be compared."""
    config = config_of(name)
    config.text_config.dropout = config.text_config.attention_dropout = 0.0
    return random_base(name, config, device, dtype)


def random_inputs(base: Base, train: int, evaluated: int, seed: int = 0) -> TrialInputs:
    """Noise for images, and captions with RSICD's lengths and repetitions."""
    side = base.model.config.vision_config.image_size
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.integers(0, 256, (train + evaluated, 3, side, side), dtype=np.uint8))
    captions = random_captions(base, train, seed)
    return TrialInputs(base, train + evaluated, train, lambda rows: noise[list(rows)].float().div_(127.5).sub_(1), captions)


def tiny_inputs(train: int, evaluated: int) -> TrialInputs:
    """The shipped base on the generated data set, scored by CIDEr."""
    from rsopt.data.images import open_image
    from rsopt.scores.java_process import find_java
    from rsopt.scores.scorer import Scorer

    worker = worker_on()
    base = worker.base
    trained = [s for s in worker.data.split("train") if worker.tokens(s)][:train]
    captioned = worker.data.split("val")[:evaluated]
    samples = [*trained, *captioned]
    scorer = Scorer({s.image_id: s.references for s in captioned})

    def pixels(rows: Sequence[int]) -> torch.Tensor:
        pictures = [open_image(samples[i]) for i in rows]
        return base.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]

    def by_id(captions: Mapping[int, str]) -> dict[str, str]:
        return {samples[i].image_id: text for i, text in captions.items()}

    def stock_score(captions: Mapping[int, str]) -> float:
        """The usual way: a Java process for the tokenizer, then pycocoevalcap over all references."""
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        os.environ["PATH"] = f"{Path(find_java()).parent}{os.pathsep}{os.environ['PATH']}"
        references = {s.image_id: [{"caption": c} for c in s.references] for s in captioned}
        candidates = {i: [{"caption": c}] for i, c in by_id(captions).items()}
        tokenizer = PTBTokenizer()
        return 100 * float(Cider().compute_score(tokenizer.tokenize(references), tokenizer.tokenize(candidates))[0])

    return TrialInputs(
        base,
        len(samples),
        len(trained),
        pixels,
        [worker.tokens(s) for s in trained],
        lambda captions: scorer.cider(by_id(captions)).corpus,
        stock_score,
    )


def features_of(inputs: TrialInputs, batch: int = 32) -> torch.Tensor:
    """Vision features of all images, on the base's device: (images, tokens, width)."""
    base, parts = inputs.base, []
    with torch.no_grad():
        for start in range(0, inputs.images, batch):
            rows = range(start, min(start + batch, inputs.images))
            pixels = inputs.pixels(rows).to(base.device, DTYPES[base.dtype])
            parts.append(base.model.vision_model(pixels).last_hidden_state)
    return torch.cat(parts)
