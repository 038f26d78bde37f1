"""BLEU-1..4 (Papineni et al. 2002) as pycocoevalcap computes it; the references' n-grams are counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

_ORDERS = 4
# pycocoevalcap's guards against division by zero; they affect the scores.
_SMALL, _TINY = 1e-9, 1e-15


class BleuScorer:
    """Scores candidates against fixed references, {image id: tokenised captions}. Repeated captions have no effect."""

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        self._cooked = {i: cook_refs(list(dict.fromkeys(captions))) for i, captions in references.items()}

    def counts(self, candidates: Mapping[str, str]) -> np.ndarray:
        """Return the counts of each image [images, 10]: length, reference length, candidate's n-grams and matches by order.

        The sum of the rows holds the counts of the corpus; `bleu_of` takes both.
        """
        rows = np.empty((len(candidates), 2 + 2 * _ORDERS))
        for number, (image_id, text) in enumerate(candidates.items()):
            counts = cook_test(text, self._cooked[image_id])
            length = counts["testlen"]
            closest = min((abs(other - length), other) for other in counts["reflen"])[1]
            rows[number] = (length, closest, *counts["guess"], *counts["correct"])
        return rows


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """Return BLEU-1..4 in 0..1, [..., 4], of counts [..., 10]: of images, or summed over a corpus."""
    candidate, matching = counts[..., 2 : 2 + _ORDERS], counts[..., 2 + _ORDERS :]
    # pycocoevalcap adds these terms at the same places.
    precision = np.cumprod((matching + _TINY) / (candidate + _SMALL), axis=-1)
    bleu = precision ** (1.0 / np.arange(1, _ORDERS + 1))
    ratio = (counts[..., 0] + _TINY) / (counts[..., 1] + _SMALL)
    return bleu * np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))[..., None]
