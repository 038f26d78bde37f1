"""Refuses a split on which CIDEr cannot be anything but 0, and warns of one that is too small to tell captioners apart."""

from __future__ import annotations

import math

from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.scores.scorer import scorer_of

FEW_IMAGES = 50


def check_split(data: CaptionData, split: str) -> list[str]:
    """Return warnings. Raises UserError if CIDEr on the split is 0 for any captions."""
    if reason := scorer_of(data, split).degenerate:
        raise UserError(
            f"{data.name}: on the {split} split {reason}; it needs at least two images, and captions that differ between images"
        )
    if (images := len(data.split(split))) >= FEW_IMAGES:
        return []
    wider = math.sqrt(1000 / images)
    return [
        f"the {split} split has {images} images, fewer than {FEW_IMAGES}: intervals of CIDEr are about {wider:.0f} times as wide "
        "as with 1,000 images, so most candidates cannot be told apart"
    ]
