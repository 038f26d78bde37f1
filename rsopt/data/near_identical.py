"""Finds near-identical images by a perceptual hash: the same picture saved again, scaled, or a little brighter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

RULE = (
    "8x8 difference hash, at most 3 of 64 bits apart, at most 8 of 255 grey levels on average; images of one colour are left out"
)
_SIDE, _BITS, _GREYS = 8, 3, 8
_PLAIN = 16  # an image with less contrast has no pattern to compare, only noise
_ROWS = 256  # compared with all others at a time
_NAMED = 100


class Pairs(NamedTuple):
    """Near-identical pairs: how many across groups, how many within one, and the first of those across as indices."""

    across: int
    within: int
    first: list[tuple[int, int]]


def thumbnail(image: Image.Image) -> bytes:
    """The image's grey levels in 8 rows of 9."""
    return image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3).tobytes()


def near_identical(thumbnails: Sequence[bytes], groups: Sequence[int]) -> Pairs:
    """Compare all thumbnails with each other; `groups` has the number of each image's split."""
    greys = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, _SIDE, _SIDE + 1).astype(np.int16)
    textured = np.flatnonzero(np.ptp(greys, axis=(1, 2)) >= _PLAIN)
    greys, group = greys[textured], np.asarray(groups)[textured]
    hashes = _hashes(greys)
    across = within = 0
    first: list[tuple[int, int]] = []
    for start in range(0, len(hashes), _ROWS):
        distances = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, start:])
        one, other = np.nonzero(np.triu(distances <= _BITS, k=1))
        one, other = one + start, other + start
        near = np.abs(greys[one] - greys[other]).mean(axis=(1, 2)) <= _GREYS
        one, other = one[near], other[near]
        apart = group[one] != group[other]
        across += int(apart.sum())
        within += int((~apart).sum())
        pairs = zip(textured[one[apart]].tolist(), textured[other[apart]].tolist(), strict=True)
        first += list(pairs)[: _NAMED - len(first)]
    return Pairs(across, within, first)


def _hashes(greys: np.ndarray) -> np.ndarray:
    """64 bits an image: whether each grey level is above its left neighbour."""
    rises = greys[:, :, 1:] > greys[:, :, :-1]
    return np.packbits(rises.reshape(len(greys), _SIDE * _SIDE), axis=1).view(np.uint64).reshape(-1)
