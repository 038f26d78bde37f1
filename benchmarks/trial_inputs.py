"""The work of one trial: a base, images, captions, and how captions are judged. Random where no weights are at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.bases import small_config
from rsopt.core.variant import Dtype
from rsopt.model.base import DTYPES, Base, load_base
from rsopt.model.configs import base_config
from rsopt.model.random_base import random_base
from rsopt.training.dataset import TokenCaption
from rsopt.training.synthetic_captions import random_captions


@dataclass(frozen=True)
class Work:
    """Images 0 to n-1, the first `train` of them for training, the rest to be captioned.

    `pixels` gives images (B, 3, height, width) in float32 on the CPU; `score` and `stock_score` CIDEr x100 of captions by image.
    """

    base: Base
    images: int
    train: int
    pixels: Callable[[Sequence[int]], torch.Tensor]
    captions: Sequence[Sequence[TokenCaption]]
    score: Callable[[Mapping[int, str]], float] | None = None
    stock_score: Callable[[Mapping[int, str]], float] | None = None

    @property
    def pairs(self) -> list[tuple[int, tuple[int, ...]]]:
        """Every caption of every training image, repeats as often as they stand there."""
        return [(i, c.ids) for i in range(self.train) for c in self.captions[i] for _ in range(int(c.weight))]


def make_base(name: str, device: torch.device, dtype: Dtype) -> Base:
    """`small`, or the shape of another base, with random weights made on the device."""
    config = small_config() if name == "small" else base_config(name)
    config.text_config.dropout = config.text_config.attention_dropout = (
        0.0  # the gate compares losses: nothing is drawn
    )
    return random_base(name, config, device, dtype)


def random_work(base: Base, train: int, evaluated: int, seed: int = 0) -> Work:
    """Noise for images; captions of RSICD's lengths and repetition."""
    side = base.model.config.vision_config.image_size
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.integers(0, 256, (train + evaluated, 3, side, side), dtype=np.uint8))
    captions = random_captions(base, train, seed)
    return Work(base, train + evaluated, train, lambda rows: noise[list(rows)].float().div_(127.5).sub_(1), captions)


def tiny_work(train: int, evaluated: int) -> Work:
    """The shipped base on the generated set, judged by CIDEr."""
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.images import open_image
    from rsopt.data.read import read
    from rsopt.scores.scorer import Scorer
    from rsopt.trial.worker_context import WorkerContext

    base = load_base("tiny")
    worker = WorkerContext(base, read(mini_folder()))
    chosen = [s for s in worker.data.split("train") if worker.tokens(s)][:train]
    asked = worker.data.split("val")[:evaluated]
    samples = [*chosen, *asked]
    scorer = Scorer({s.image_id: s.references for s in asked})

    def pixels(rows: Sequence[int]) -> torch.Tensor:
        pictures = [open_image(samples[i]) for i in rows]
        return base.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]

    def by_id(captions: Mapping[int, str]) -> dict[str, str]:
        return {samples[i].image_id: text for i, text in captions.items()}

    def stock(captions: Mapping[int, str]) -> float:
        """As one writes it: a Java process for the tokenizer, then pycocoevalcap over all references."""
        import os
        from pathlib import Path

        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        from rsopt.scores.java_process import find_java

        os.environ["PATH"] = f"{Path(find_java()).parent}{os.pathsep}{os.environ['PATH']}"
        given = by_id(captions)
        references = {s.image_id: [{"caption": c} for c in s.references] for s in asked}
        tokens = PTBTokenizer()
        gts, res = tokens.tokenize(references), tokens.tokenize({i: [{"caption": c}] for i, c in given.items()})
        return 100 * float(Cider().compute_score(gts, res)[0])

    return Work(
        base,
        len(samples),
        len(chosen),
        pixels,
        [worker.tokens(s) for s in chosen],
        lambda captions: scorer.cider(by_id(captions)).corpus,
        stock,
    )


def features_of(work: Work, batch: int = 32) -> torch.Tensor:
    """Vision features of all images, on the base's device: (images, tokens, width)."""
    parts = []
    with torch.no_grad():
        for start in range(0, work.images, batch):
            rows = range(start, min(start + batch, work.images))
            given = work.pixels(rows).to(work.base.device, DTYPES[work.base.dtype])
            parts.append(work.base.model.vision_model(given).last_hidden_state)
    return torch.cat(parts)
