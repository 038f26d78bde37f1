"""Heads that predict a picture's caption words and its class. They replace dense labels, and are dropped after pretraining."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rsopt.data.records import Sample

RARE, COMMON = 10, 0.7  # a word of fewer pictures cannot be learnt; one of more than this share tells little


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of N pictures: `words` (N, W), the share of its captions that hold each word; `classes` (N,), -1 if unknown."""

    words: Tensor
    classes: Tensor


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words and scene classes that pictures of the training split can be told apart by."""

    words: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Vocabulary:
        """Takes words of at least 10 pictures (of fewer in a small set) and of at most 70 % of them, and all classes."""
        counts = Counter(word for sample in samples for word in {w for c in sample.captions for w in c.text.split()})
        least = min(RARE, max(1, len(samples) // 50))
        words = sorted(word for word, pictures in counts.items() if least <= pictures <= COMMON * len(samples))
        return cls(tuple(words), tuple(sorted({s.scene for s in samples if s.scene})))

    def labels(self, samples: Sequence[Sample]) -> Labels:
        """Returns the labels of the samples."""
        place = {word: i for i, word in enumerate(self.words)}
        words = torch.zeros(len(samples), len(self.words))
        for row, sample in enumerate(samples):
            total = sum(caption.count for caption in sample.captions)
            for caption in sample.captions:
                for word in set(caption.text.split()) & place.keys():
                    words[row, place[word]] += caption.count / total
        classes = [self.classes.index(s.scene) if s.scene in self.classes else -1 for s in samples]
        return Labels(words.clamp(max=1), torch.tensor(classes))


class WordHeads(nn.Module):
    """Linear layers from the mean of the patches, and from all queries, to words and classes."""

    def __init__(self, vocabulary: Vocabulary, width: int, query_width: int, queries: int) -> None:
        super().__init__()
        self.words, self.classes = len(vocabulary.words), max(1, len(vocabulary.classes))
        self.patches = nn.Linear(width, self.words + self.classes)
        self.queries = nn.Linear(query_width * queries, self.words + self.classes)
        for linear in (self.patches, self.queries):
            nn.init.constant_(linear.bias[: self.words], -3.0)  # most pictures lack most words

    def patch_loss(self, seen: Tensor, labels: Labels) -> Tensor:
        """Loss of labels predicted from vision outputs (B, 1+P, D)."""
        return self._loss(self.patches(seen.mean(1)), labels)

    def query_loss(self, queries: Tensor, labels: Labels) -> Tensor:
        """Loss of labels predicted from Q-Former outputs (B, Q, D)."""
        return self._loss(self.queries(queries.flatten(1)), labels)

    def class_accuracy(self, logits: Tensor, labels: Labels) -> float:
        """Share of pictures of a known class whose class is predicted; NaN if there is none."""
        known = labels.classes >= 0
        return float((logits[:, self.words :].argmax(1) == labels.classes)[known].float().mean())

    def _loss(self, logits: Tensor, labels: Labels) -> Tensor:
        words = F.binary_cross_entropy_with_logits(logits[:, : self.words], labels.words, reduction="sum") / len(logits) / 10
        if not (labels.classes >= 0).any():
            return words
        return words + F.cross_entropy(logits[:, self.words :], labels.classes, ignore_index=-1)
