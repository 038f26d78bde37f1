"""What the base is pretrained on, drawn once: pictures with dense labels, captions, and sentences without pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsopt.pretrain.model import IMAGE_SIZE, PATCH_SIZE

UNKNOWN = -100  # a fact that a picture does not have; cross-entropy ignores it
SIDE = IMAGE_SIZE // PATCH_SIZE


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures as arrays.

    pixels (N, 64, 64, 3) uint8; cover (N, 64 patches, K kinds) uint8, 0..255, the share of a patch that shows a kind;
    centres (N, 64) uint8, 0 or 1 + the counted kind whose centre is in a patch; tints (N, 64) int64, its colour or UNKNOWN;
    facts (N, F) int64 in the order of FACTS, UNKNOWN where there is none; two captions each.
    """

    pixels: np.ndarray
    cover: np.ndarray
    centres: np.ndarray
    tints: np.ndarray
    facts: np.ndarray
    captions: list[tuple[str, ...]]
