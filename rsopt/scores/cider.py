"""CIDEr-D (Vedantam et al. 1411.5726), equal to pycocoevalcap's; the references' weights are computed once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rsopt.errors import UserError

_ORDERS = 4
_SIGMA = 6.0  # of the penalty on length differences

Ngram = tuple[str, ...]
# Of one image, n-gram -> ((reference, tf-idf weight), ...): one look-up serves all references.
_Index = dict[Ngram, tuple[tuple[int, float], ...]]


class CiderScorer:
    """Scores candidates against fixed references, {image id: tokenised captions, repeated ones included}.

    Scores are 0..10 as in pycocoevalcap. With one image, or if all images share their references, all scores are 0.
    """

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        if not references:
            raise UserError("CIDEr needs at least one image with references")
        if bare := [i for i, captions in references.items() if not captions]:
            raise UserError(f"{len(bare)} images have no reference caption: {', '.join(map(str, bare[:3]))}")
        # Data sets pad by repetition: n-grams of a distinct caption are counted once.
        counts = {i: Counter(captions) for i, captions in references.items()}
        grams = {i: [_ngrams(text) for text in texts] for i, texts in counts.items()}
        documents: Counter[Ngram] = Counter()
        for captions in grams.values():
            documents.update({gram for caption in captions for gram in caption})
        self._captions = counts
        self._unseen = math.log(len(references))
        self._idf = {gram: self._unseen - math.log(images) for gram, images in documents.items()}
        self._images = {i: _Image(list(counts[i].values()), [self._weigh(one) for one in grams[i]]) for i in references}

    @property
    def image_ids(self) -> list[str]:
        """Image ids in the order of the references and scores."""
        return list(self._images)

    @property
    def is_degenerate(self) -> bool:
        """Whether no n-gram distinguishes images (one image, or shared references), so that all scores are 0."""
        return not any(self._idf.values())

    def score(self, candidates: Mapping[str, str]) -> tuple[float, np.ndarray]:
        """Return CIDEr of the corpus and of each image [images], both 0..10, of tokenised candidates {image id: caption}."""
        per_image = np.array([self._images[i].score(*self._weigh(_ngrams(text))) for i, text in candidates.items()])
        return float(np.mean(per_image)), per_image

    def leave_one_out(self) -> dict[str, float]:
        """Return CIDEr 0..10 of the references by image: the mean over captions, each scored against the image's others.

        Copies of a caption count as others, as they do in all scores. An image with one reference has no others and is left
        out.
        """
        scores = {}
        for image_id, counts in self._captions.items():
            if (references := sum(counts.values())) < 2:
                continue
            weighed = {text: self._weigh(_ngrams(text)) for text in counts}
            total = 0.0
            for text, count in counts.items():
                others = counts - Counter([text])
                image = _Image(list(others.values()), [weighed[other] for other in others])
                total += count * image.score(*weighed[text])
            scores[image_id] = total / references
        return scores

    def _weigh(self, counts: dict[Ngram, int]) -> tuple[dict[Ngram, float], list[float], int]:
        """Tf-idf weights, their norms by order, and the length in bigrams as in pycocoevalcap."""
        idf, unseen = self._idf, self._unseen
        weights = {gram: count * idf.get(gram, unseen) for gram, count in counts.items()}
        squares, length = [0.0] * _ORDERS, 0
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
            if len(gram) == 2:
                length += counts[gram]
        return weights, [math.sqrt(s) for s in squares], length


class _Image:
    """The weighted references of one image."""

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
        self._index: _Index = {gram: tuple(entries) for gram, entries in index.items()}

    def score(self, weights: dict[Ngram, float], norms: list[float], length: int) -> float:
        """CIDEr-D of one candidate, 0..10."""
        dots = [[0.0] * _ORDERS for _ in self._counts]
        index = self._index
        for gram, weight in weights.items():
            for number, other in index.get(gram, ()):
                # Clipped, so that repeating a word of the reference gains nothing.
                dots[number][len(gram) - 1] += (weight if weight < other else other) * other
        total = 0.0
        for number, count in enumerate(self._counts):
            gap = float(length - self._lengths[number])
            likeness = sum(
                dot / (norm * other)
                for dot, norm, other in zip(dots[number], norms, self._norms[number], strict=True)
                if dot and norm and other
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
