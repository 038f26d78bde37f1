"""Pictures with dense labels and captions, as arrays: the pretraining data of the tiny base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsopt.pretrain.model import IMAGE_SIZE, PATCH_SIZE

UNKNOWN = -100  # label of a missing fact; cross-entropy ignores it
SIDE = IMAGE_SIZE // PATCH_SIZE


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures as arrays.

    Attributes:
        pixels: (N, 64, 64, 3) uint8.
        cover: (N, 64 patches, K kinds) uint8, the share of a patch that shows a kind, 255 for all of it.
        centres: (N, 64) uint8, 1 + the index in COUNTED of the thing whose centre is in a patch, 0 for none.
        tints: (N, 64) int64, the colour of that thing, or UNKNOWN.
        facts: (N, F) int64, classes in the order of FACTS, or UNKNOWN.
        captions: Two captions of each picture.
    """

    pixels: np.ndarray
    cover: np.ndarray
    centres: np.ndarray
    tints: np.ndarray
    facts: np.ndarray
    captions: list[tuple[str, ...]]
