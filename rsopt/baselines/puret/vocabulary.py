"""Words of a baseline that has no tokenizer of its own: those of the training captions, as the metrics' tokenizer cuts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch


class Vocabulary:
    """Rows: 0 begins, ends and pads a caption; then `words`; the last one stands for every other word."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._rows = {word: row for row, word in enumerate(self.words, start=1)}
        self.unknown = len(self.words) + 1
        self.size = len(self.words) + 2

    @classmethod
    def of(cls, captions: Iterable[str], least: int) -> Vocabulary:
        """Words that tokenised captions hold at least `least` times, the frequent ones first."""
        counts = Counter(word for caption in captions for word in caption.split())
        kept = [word for word, count in counts.items() if count >= least]
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    def encode(self, caption: str) -> list[int]:
        """Rows of a tokenised caption, without beginning and end."""
        return [self._rows.get(word, self.unknown) for word in caption.split()]

    def decode(self, rows: torch.Tensor) -> list[str]:
        """Captions of rows (B, L), each up to its end."""
        told = []
        for row in rows.tolist():
            words = row[: row.index(0)] if 0 in row else row
            told.append(" ".join(self.words[i - 1] for i in words if i != self.unknown))
        return told
