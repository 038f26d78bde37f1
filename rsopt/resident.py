"""Resident: what stays in a process from trial to trial: base, data, features, token captions, scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from rsopt.base import Base
from rsopt.cost import CostModel
from rsopt.data.records import CaptionData, Sample
from rsopt.features import Progress, feature_key, load_features
from rsopt.pack import TokenCaption
from rsopt.scores.floor import scorer_of
from rsopt.scores.scorer import Scorer
from rsopt.train import TrainingSet


@dataclass(slots=True)
class Resident:
    """Built lazily, kept for the life of the process. Features are kept per set of vision layers."""

    base: Base
    data: CaptionData
    progress: Progress | None = None
    _features: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)
    _tokens: dict[str, tuple[TokenCaption, ...]] = field(default_factory=dict)
    _scorers: dict[str, Scorer] = field(default_factory=dict)
    _costs: CostModel | None = None

    def features(self, split: str, vision_layers: Sequence[int]) -> torch.Tensor:
        """Vision features of one split, in file order: (images, tokens, width)."""
        key = tuple(vision_layers)
        if key not in self._features:
            self._features[key] = load_features(self.base, self.data.samples, key, self.progress)
        return self._features[key][self._rows(split)]

    def feature_key(self, vision_layers: Sequence[int]) -> str:
        """Digest of all that the features depend on."""
        return feature_key(self.base, self.data.samples, vision_layers)

    def training_set(self, split: str, vision_layers: Sequence[int]) -> TrainingSet:
        """Features and token captions of the images of a split that have a caption."""
        samples = self.data.split(split)
        kept = [i for i, sample in enumerate(samples) if self.tokens(sample)]
        features = self.features(split, vision_layers)
        return TrainingSet(features[torch.tensor(kept)], [self.tokens(samples[i]) for i in kept])

    def tokens(self, sample: Sample) -> tuple[TokenCaption, ...]:
        """Distinct captions of an image as `</s> text newline`, weighted by repetition; empty captions are left out."""
        if sample.image_id not in self._tokens:
            self._tokens[sample.image_id] = tuple(
                TokenCaption((self.base.start_id, *self._encode(c.text), self.base.end_id), float(c.count))
                for c in sample.captions
                if c.text.strip()
            )
        return self._tokens[sample.image_id]

    def scorer(self, split: str) -> Scorer:
        """Metrics against the references of one split, tokenised and counted once."""
        if split not in self._scorers:
            self._scorers[split] = scorer_of(self.data, split)
        return self._scorers[split]

    @property
    def costs(self) -> CostModel:
        """Exact counts of this base's variants."""
        if self._costs is None:
            self._costs = CostModel(self.base.model.config)
        return self._costs

    @property
    def reference_tokens(self) -> int:
        """Mean length of the validation references in tokens, end token included: the fixed length of a latency."""
        tokens = [c for s in self.data.split("val") for c in self.tokens(s)]
        return round(sum(c.weight * (len(c.ids) - 1) for c in tokens) / sum(c.weight for c in tokens))

    def _encode(self, text: str) -> list[int]:
        return self.base.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _rows(self, split: str) -> torch.Tensor:
        return torch.tensor([i for i, s in enumerate(self.data.samples) if s.split == split], dtype=torch.long)


def pad_id(base: Base) -> int:
    """The tokenizer's padding token."""
    return base.tokenizer.pad_token_id
