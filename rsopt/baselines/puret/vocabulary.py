"""PureT's vocabulary: words of the training captions, as split by the tokenizer of the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch


class Vocabulary:
    """Rows: 0 begins, ends and pads a caption; then `words`; the last row is for every other word."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._rows = {word: row for row, word in enumerate(self.words, start=1)}
        self.unknown = len(self.words) + 1
        self.size = len(self.words) + 2

    @classmethod
    def of(cls, captions: Iterable[str], min_count: int) -> Vocabulary:
        """Words that occur at least `min_count` times in tokenised captions, the frequent ones first."""
        counts = Counter(word for caption in captions for word in caption.split())
        words = [word for word, count in counts.items() if count >= min_count]
        return cls(sorted(words, key=lambda word: (-counts[word], word)))

    def encode(self, caption: str) -> list[int]:
        """Rows of a tokenised caption, without beginning and end."""
        return [self._rows.get(word, self.unknown) for word in caption.split()]

    def decode(self, rows: torch.Tensor) -> list[str]:
        """Captions of rows (B, L), each up to its end."""
        captions = []
        for row in rows.tolist():
            words = row[: row.index(0)] if 0 in row else row
            captions.append(" ".join(self.words[i - 1] for i in words if i != self.unknown))
        return captions
