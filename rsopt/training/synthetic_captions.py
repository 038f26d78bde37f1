"""Random captions with the lengths and repetitions of RSICD's as first published, for measurements without data."""

from __future__ import annotations

import numpy as np

from rsopt.model.base import Base
from rsopt.training.dataset import TokenCaption

# RSICD: images with 1 to 5 distinct captions among their 5, and words of a distinct caption.
_DISTINCT = np.array([4853, 1667, 2182, 1495, 724]) / 10921
_WORDS, _WORDS_SD = 10.8, 3.4


def random_captions(base: Base, images: int, seed: int = 0) -> list[list[TokenCaption]]:
    """Returns the distinct captions of each image, weighted by their repetitions, five captions an image."""
    rng = np.random.default_rng(seed)
    vocabulary = base.model.config.text_config.vocab_size

    def caption() -> tuple[int, ...]:
        length = max(3, round(rng.normal(_WORDS, _WORDS_SD)))
        return (base.start_id, *rng.integers(vocabulary // 4, vocabulary - 8, length).tolist(), base.end_id)

    captions = []
    for _ in range(images):
        distinct = [caption() for _ in range(1 + int(rng.choice(5, p=_DISTINCT)))]
        five = (distinct * 5)[:5]
        captions.append([TokenCaption(ids, float(five.count(ids))) for ids in distinct])
    return captions
