"""Garbled captions, in which one word or sign stands over and over, as machine translation and stuck keys leave it.

They are left out of training and of the validation loss. References that metrics are computed from stay as published.
"""

from __future__ import annotations

import re

from rsopt.data.records import Caption, Sample

TIMES = 8  # in a row: people write `many many trees` and `......`, and nobody writes this
_REPEATED = re.compile(rf"(.{{1,40}}?)\1{{{TIMES - 1}}}")


def is_garbled(text: str) -> bool:
    """Whether a stretch of 1 to 40 characters stands at least eight times in a row, as in `1.........` or `trees trees ...`."""
    words = text.lower().split()
    # Within a word, a repeated stretch repeats a character; over several words, all words but those at its ends. This look is
    # ten times as fast as the search.
    suspect = len(words) - len(set(words)) >= TIMES - 2 or any(len(word) - len(set(word)) >= TIMES - 1 for word in words)
    return suspect and _REPEATED.search(f" {' '.join(words)} ") is not None


def learned_captions(sample: Sample) -> list[Caption]:
    """Returns the distinct captions of an image that models are trained on: those with a text that is not garbled."""
    return [caption for caption in sample.captions if caption.text.strip() and not is_garbled(caption.text)]
