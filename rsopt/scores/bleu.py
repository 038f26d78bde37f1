"""BLEU-1..4 (Papineni et al. 2002) as pycocoevalcap computes it, with the references counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

_ORDERS = 4
# pycocoevalcap's guards against division by zero; they are part of the numbers.
_SMALL, _TINY = 1e-9, 1e-15


class BleuScorer:
    """Scores candidates against fixed references, {image id: tokenised captions}. Repeated captions change nothing."""

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        self._cooked = {i: cook_refs(list(dict.fromkeys(captions))) for i, captions in references.items()}

    def counts(self, candidates: Mapping[str, str]) -> np.ndarray:
        """Per image, all that BLEU needs [images, 10]: own length, reference length, n-grams given and right, by order.

        Sums of rows are the counts of a corpus: `bleu_of` takes either.
        """
        rows = np.empty((len(candidates), 2 + 2 * _ORDERS))
        for number, (image_id, text) in enumerate(candidates.items()):
            found = cook_test(text, self._cooked[image_id])
            length = found["testlen"]
            closest = min((abs(other - length), other) for other in found["reflen"])[1]
            rows[number] = (length, closest, *found["guess"], *found["correct"])
        return rows


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """BLEU-1..4 in 0..1, [..., 4], of counts [..., 10]: one row an image, or the sum of a corpus's rows."""
    given, right = counts[..., 2 : 2 + _ORDERS], counts[..., 2 + _ORDERS :]
    # Same small terms at the same places as the reference code, which differ between image and corpus by 1e-9 at most.
    precision = np.cumprod((right + _TINY) / (given + _SMALL), axis=-1)
    bleu = precision ** (1.0 / np.arange(1, _ORDERS + 1))
    ratio = (counts[..., 0] + _TINY) / (counts[..., 1] + _SMALL)
    return bleu * np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))[..., None]
