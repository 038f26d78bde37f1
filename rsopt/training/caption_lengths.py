"""Counts the captions of a data set as training takes them, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rsopt.core.packed_lengths import PackedLengths
from rsopt.data.garbled import learned_captions
from rsopt.data.records import Caption, CaptionData
from rsopt.model.config_repair import load_processor
from rsopt.model.hub import cached

Tokenize = Callable[[list[str]], list[list[int]]]
ESTIMATE = "tiny"  # base whose tokenizer counts where the right one is not here; it makes more tokens of a word than OPT's


@dataclass(frozen=True, slots=True)
class CaptionLengths:
    """Captions of the training and the validation split, cut to `limit` tokens.

    `lengths` are those of each training image's captions, start and end tokens included. `longest` is the most tokens of one
    caption before the cut. `cut` and `garbled` hold an image's id for each such caption, `left_out` those of images that have no
    caption left. `estimated`: another base's tokenizer counted.
    """

    limit: int
    lengths: tuple[tuple[int, ...], ...]
    longest: int
    cut: tuple[str, ...]
    garbled: tuple[str, ...]
    left_out: tuple[str, ...]
    estimated: bool = False

    def to_json(self) -> dict[str, int]:
        """Returns the numbers that a study records."""
        return {
            "limit": self.limit,
            "cut": len(self.cut),
            "garbled": len(self.garbled),
            "images_left_out": len(self.left_out),
            "packed_ordinary": self.packed().ordinary,
            "packed_longest": self.packed().longest,
        }

    def packed(self, packed: bool = True) -> PackedLengths:
        """Returns the lengths behind one image, with all its captions or, if not `packed`, with one."""
        return PackedLengths.of([n for image in self.lengths for n in ((sum(image),) if packed else image)])


def caption_lengths(data: CaptionData, tokenize: Tokenize, limit: int, estimated: bool = False) -> CaptionLengths:
    """Returns the counts of a data set."""
    learned = {split: [(s, learned_captions(s)) for s in data.split(split)] for split in ("train", "val")}
    pairs = [pair for split in learned.values() for pair in split]
    texts = list({c.text: None for _, captions in pairs for c in captions})
    tokens = dict(zip(texts, map(len, tokenize(texts) if texts else []), strict=True))

    def length(caption: Caption) -> int:
        return 1 + (limit if tokens[caption.text] > limit else tokens[caption.text] + 1)  # a cut one has no end token

    return CaptionLengths(
        limit,
        tuple(tuple(map(length, captions)) for _, captions in learned["train"] if captions),
        max(tokens.values(), default=0),
        tuple(s.image_id for s, captions in pairs for c in captions if tokens[c.text] > limit),
        tuple(s.image_id for s, captions in pairs for c in s.captions if c.text.strip() and c not in captions),
        tuple(s.image_id for s, captions in pairs if not captions),
        estimated,
    )


def tokenizer_at_hand(base: str) -> tuple[Tokenize, bool]:
    """Returns the tokenizer of a base, or where its files are not here another one, and whether it is another one."""
    here = cached(base) is not None
    tokenizer: Any = load_processor(base if here else ESTIMATE).tokenizer
    return lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"], not here
