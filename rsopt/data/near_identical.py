"""Finds near-identical images by a perceptual hash: the same picture saved again, scaled, or a little brighter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

_SIDE = 8
_BITS = 8  # of the 64 of a difference hash that may differ; a grey level nearly equal to its neighbour's may go either way
_GREYS = 0.03  # of the contrast: what the grey levels may differ on average once the images are equally bright
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
    """Compare all thumbnails with each other; `groups` has the number of each image's split.

    Two images are near-identical if their difference hashes differ in few bits and their grey levels little.
    """
    greys = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, _SIDE, _SIDE + 1).astype(np.int16)
    textured = np.flatnonzero(np.ptp(greys, axis=(1, 2)) >= _PLAIN)
    greys, group = greys[textured], np.asarray(groups)[textured]
    hashes, contrast = _hashes(greys), np.ptp(greys, axis=(1, 2))
    pattern = greys - greys.mean(axis=(1, 2), keepdims=True)
    across = within = 0
    first: list[tuple[int, int]] = []
    for start in range(0, len(hashes), _ROWS):
        distances = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, start:])
        one, other = np.nonzero(np.triu(distances <= _BITS, k=1))
        one, other = one + start, other + start
        unlike = np.abs(pattern[one] - pattern[other]).mean(axis=(1, 2))
        near = unlike <= _GREYS * np.minimum(contrast[one], contrast[other])
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
