"""ROUGE-L (Lin 2004) as pycocoevalcap computes it: best precision and best recall of the longest common subsequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_BETA = 1.2


class RougeScorer:
    """Scores candidates against fixed references, {image id: tokenised captions}. Repeated captions have no effect."""

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        # Split at single spaces as in pycocoevalcap: an empty caption is one empty word.
        self._words = {i: [c.split(" ") for c in dict.fromkeys(captions)] for i, captions in references.items()}

    def score(self, candidates: Mapping[str, str]) -> np.ndarray:
        """Return ROUGE-L of each image [images], 0..1, in the order of `candidates`."""
        return np.array([_rouge(text.split(" "), self._words[image_id]) for image_id, text in candidates.items()])


def _rouge(candidate: list[str], references: list[list[str]]) -> float:
    common = [common_length(candidate, reference) for reference in references]
    precision = max(length / len(candidate) for length in common)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, by bit-parallel operations over `one` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full  # a zero bit marks a word of `one` that lengthens the subsequence
    for word in other:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(one) - row.bit_count()
