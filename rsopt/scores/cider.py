"""CIDEr-D (Vedantam et al. 1411.5726), equal to pycocoevalcap's; what the references decide is counted once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rsopt.errors import UserError

_ORDERS = 4
_SIGMA = 6.0  # of the penalty on length differences

Ngram = tuple[str, ...]
# Of one image, n-gram -> ((reference, tf-idf weight), ...): a candidate's n-gram meets all references in one look-up.
_Index = dict[Ngram, tuple[tuple[int, float], ...]]


class CiderScorer:
    """Scores candidates against fixed references, {image id: tokenised captions with their multiplicity}.

    Scores are 0..10 as in pycocoevalcap. With one image, or references that all images share, every score is 0.
    """

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        if not references:
            raise UserError("CIDEr needs at least one image with references")
        if bare := [i for i, captions in references.items() if not captions]:
            raise UserError(f"{len(bare)} images have no reference caption: {', '.join(map(str, bare[:3]))}")
        # Padding repeats captions: each distinct one is counted once, with how often it stands there.
        counts = {i: Counter(captions) for i, captions in references.items()}
        grams = {i: [_ngrams(text) for text in texts] for i, texts in counts.items()}
        documents: Counter[Ngram] = Counter()
        for own in grams.values():
            documents.update({gram for one in own for gram in one})
        self._captions = counts
        self._unseen = math.log(len(references))
        self._idf = {gram: self._unseen - math.log(seen) for gram, seen in documents.items()}
        self._images = {i: _Image(list(counts[i].values()), [self._weigh(one) for one in grams[i]]) for i in references}

    @property
    def image_ids(self) -> list[str]:
        """Ids in the order of `references` and of the scores."""
        return list(self._images)

    @property
    def is_degenerate(self) -> bool:
        """Whether no n-gram tells images apart (one image, or shared references), so that every score is 0."""
        return not any(self._idf.values())

    def score(self, candidates: Mapping[str, str]) -> tuple[float, np.ndarray]:
        """Corpus CIDEr and CIDEr per image [images], both 0..10, of tokenised `candidates` {image id: caption}."""
        per_image = np.array([self._images[i].score(*self._weigh(_ngrams(text))) for i, text in candidates.items()])
        return float(np.mean(per_image)), per_image

    def agreement(self) -> dict[str, float]:
        """CIDEr 0..10 of the references themselves: each against the others, averaged by image with their multiplicity.

        All copies of a caption are set aside with it: padding by repetition is not agreement. An image with one
        distinct caption therefore says nothing and is left out.
        """
        found = {}
        for image_id, counts in self._captions.items():
            if len(counts) < 2:
                continue
            weighed = {text: self._weigh(_ngrams(text)) for text in counts}
            total = 0.0
            for text, count in counts.items():
                others = [other for other in counts if other != text]
                image = _Image([counts[other] for other in others], [weighed[other] for other in others])
                total += count * image.score(*weighed[text])
            found[image_id] = total / sum(counts.values())
        return found

    def _weigh(self, counts: dict[Ngram, int]) -> tuple[dict[Ngram, float], list[float], int]:
        """Tf-idf weights, their norm per order and the length (in bigrams, as the reference code has it)."""
        idf, unseen = self._idf, self._unseen
        weights = {gram: count * idf.get(gram, unseen) for gram, count in counts.items()}
        squares, length = [0.0] * _ORDERS, 0
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
            if len(gram) == 2:
                length += counts[gram]
        return weights, [math.sqrt(s) for s in squares], length


class _Image:
    """The references of one image, weighed."""

    __slots__ = ("_counts", "_index", "_lengths", "_norms", "_total")

    def __init__(self, counts: Sequence[int], weighed: Sequence[tuple[dict[Ngram, float], list[float], int]]) -> None:
        self._counts = counts
        self._total = sum(self._counts)
        self._norms = [norms for _, norms, _ in weighed]
        self._lengths = [length for _, _, length in weighed]
        index: dict[Ngram, list[tuple[int, float]]] = {}
        for number, (weights, _, _) in enumerate(weighed):
            for gram, weight in weights.items():
                index.setdefault(gram, []).append((number, weight))
        self._index: _Index = {gram: tuple(found) for gram, found in index.items()}

    def score(self, weights: dict[Ngram, float], norms: list[float], length: int) -> float:
        """CIDEr-D of one candidate, 0..10."""
        dots = [[0.0] * _ORDERS for _ in self._counts]
        index = self._index
        for gram, weight in weights.items():
            for number, other in index.get(gram, ()):
                # Clipped: repeating a word of the reference earns nothing.
                dots[number][len(gram) - 1] += (weight if weight < other else other) * other
        total = 0.0
        for number, count in enumerate(self._counts):
            gap = float(length - self._lengths[number])
            likeness = sum(
                dot / (own * other)
                for dot, own, other in zip(dots[number], norms, self._norms[number], strict=True)
                if dot and own and other
            )
            total += count * likeness * math.exp(-(gap * gap) / (2 * _SIGMA**2))
        return 10.0 * total / _ORDERS / self._total


def _ngrams(text: str) -> dict[Ngram, int]:
    """Counts of the n-grams of 1 to 4 words, all orders in one dict."""
    words = text.split()
    counts: dict[Ngram, int] = {}
    for order in range(1, _ORDERS + 1):
        for gram in zip(*(words[i:] for i in range(order)), strict=False):
            counts[gram] = counts.get(gram, 0) + 1
    return counts
