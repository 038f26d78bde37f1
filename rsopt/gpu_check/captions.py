"""The captions that a base is checked with: random ones as in RSICD, or those of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsopt.core.packed_lengths import PackedLengths
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.data.garbled import learned_captions
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.model.base import Base
from rsopt.training.caption_lengths import caption_lengths, tokenizer_at_hand
from rsopt.training.dataset import TokenCaption
from rsopt.training.synthetic_captions import random_captions


@dataclass(frozen=True, slots=True)
class CheckCaptions:
    """Captions of a few images, and what the whole data set is like: lengths, images in all, for training and for validation."""

    whose: str
    some: list[list[TokenCaption]]
    packed: PackedLengths
    images: int
    train: int
    val: int

    @classmethod
    def random(cls, base: Base, images: int) -> CheckCaptions:
        """Returns random captions with the lengths and repetitions of RSICD's, as it was published first."""
        some = random_captions(base, images)
        packed = PackedLengths.of([sum(len(c.ids) for c in captions) for captions in some])
        return cls("random captions like RSICD's", some, packed, 10921, 8734, 1094)

    @classmethod
    def of(cls, base: Base, images: int, data: CaptionData, base_name: str) -> CheckCaptions:
        """Returns the captions of images spread evenly over the training split, repeated where it has fewer.

        A base of random weights has no tokenizer: another base's counts then. Raises UserError where all captions are garbled.
        """
        tokenize, estimated = tokenizer_at_hand(base_name)
        limit = min(CAPTION_TOKENS, base.shape.caption_room)
        train = [captions for sample in data.split("train") if (captions := learned_captions(sample))]
        if not train:
            raise UserError(f"{data.name}: no caption of the train split is left to learn from: all are garbled")
        some = []
        for chosen in np.linspace(0, len(train) - 1, images).round().astype(int):
            ids = tokenize([caption.text for caption in train[chosen]])
            pairs = zip(train[chosen], ids, strict=True)
            some.append([TokenCaption.cut(base.start_id, i, base.end_id, float(c.count), limit) for c, i in pairs])
        packed = caption_lengths(data, tokenize, limit).packed()
        whose = f"captions of {data.name}" + (", counted with the tokenizer of tiny" if estimated else "")
        return cls(whose, some, packed, len(data.samples), len(train), len(data.split("val")))
