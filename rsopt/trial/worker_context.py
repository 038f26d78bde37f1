"""Resident: what stays in a process from trial to trial: base, data, features, token captions, scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rsopt.caption.cuda_graph import CapturedDecoder
from rsopt.caption.decoder_check import Agreement, captured_is_faster, compare_decoders
from rsopt.caption.decoders import Decode, shared_prefix, transformers_generate
from rsopt.common.out_of_memory import is_out_of_memory, release
from rsopt.core.inference import BATCH, CHECKED_IMAGES
from rsopt.cost.model import CostModel
from rsopt.data.records import SPLITS, CaptionData, Sample
from rsopt.model.base import Base
from rsopt.model.build import Built
from rsopt.model.prefix import qformer_outputs
from rsopt.model.vision_features import Progress, feature_key, load_features, place, weights_digest
from rsopt.scores.reference_points import scorer_of
from rsopt.scores.scorer import Scorer
from rsopt.training.dataset import TokenCaption
from rsopt.training.trainer import TrainingSet

_KEPT = 2  # Q-Formers whose outputs stay: trials of one search often share theirs


@dataclass(slots=True)
class WorkerContext:
    """Built lazily, kept for the life of the process. Features are kept per set of vision layers."""

    base: Base
    data: CaptionData
    progress: Progress | None = None
    _features: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)
    _queried: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[str, torch.Tensor]] = field(default_factory=dict)
    _keys: dict[tuple[int, ...], str] = field(default_factory=dict)
    _tokens: dict[str, tuple[TokenCaption, ...]] = field(default_factory=dict)
    _scorers: dict[str, Scorer] = field(default_factory=dict)
    _costs: CostModel | None = None
    _agreement: Agreement | None = None
    _captured: bool | None = None
    _content: dict[str, Any] | None = None

    def features(self, split: str, vision_layers: Sequence[int]) -> torch.Tensor:
        """Vision features of one split, in file order: (images, tokens, width). A view: nothing is copied."""
        key = tuple(vision_layers)
        if key not in self._features:
            # Split by split, so that each is one stretch of the file.
            samples = [sample for name in SPLITS for sample in self.data.split(name)]
            self._features[key] = place(load_features(self.base, samples, key, self.progress), self.base.device)
        start = sum(len(self.data.split(name)) for name in SPLITS[: SPLITS.index(split)])
        return self._features[key][start : start + len(self.data.split(split))]

    def queried(self, split: str, built: Built) -> torch.Tensor:
        """What the frozen Q-Former of `built` reads from the images of a split: (images, queries, Q-Former width).

        Computed once for all trials with these Q-Former layers that leave them frozen; kept for the last few Q-Formers.
        """
        variant = built.variant
        assert variant.lora is None or variant.lora.qformer is None
        key = (variant.vision_layers, variant.qformer_layers)
        kept = self._queried.setdefault(key, {})
        while len(self._queried) > _KEPT:
            self._queried.pop(next(iter(self._queried)))
        if split not in kept:
            features = self.features(split, variant.vision_layers)
            with torch.no_grad():  # not inference_mode: training saves these for its backward pass
                parts = [qformer_outputs(built.model, part.to(self.base.device)).cpu() for part in features.split(64)]
            kept[split] = place(torch.cat(parts), self.base.device)
        return kept[split]

    def inputs(self, split: str, built: Built) -> tuple[torch.Tensor, bool]:
        """What `built` is fed for the images of a split: Q-Former outputs (and True) where those are frozen, else features."""
        if built.variant.lora is not None and built.variant.lora.qformer is None:
            return self.queried(split, built), True
        return self.features(split, built.variant.vision_layers), False

    def training_set(self, split: str, vision_layers: Sequence[int], built: Built | None = None) -> TrainingSet:
        """Inputs and token captions of the images of a split that have a caption; vision features where no `built` is given."""
        samples = self.data.split(split)
        kept = [i for i, sample in enumerate(samples) if self.tokens(sample)]
        features, queried = (self.features(split, vision_layers), False) if built is None else self.inputs(split, built)
        if len(kept) < len(samples):
            features = features[torch.tensor(kept)]
        return TrainingSet(features, [self.tokens(samples[i]) for i in kept], queried)

    def feature_key(self, vision_layers: Sequence[int]) -> str:
        """Digest of all that the features depend on."""
        key = tuple(vision_layers)
        if key not in self._keys:
            self._keys[key] = feature_key(self.base, self.data.samples, key)
        return self._keys[key]

    @property
    def content(self) -> dict[str, Any]:
        """What anything computed from base and training split depends on: every weight, images, captions, dtype. For digests."""
        if self._content is None:
            self._content = {
                "weights": weights_digest(self.base.model),
                "features": self.feature_key(range(self.base.shape.vision_layers)),
                "captions": [[s.image_id, [[c.text, c.count] for c in s.captions]] for s in self.data.split("train")],
                "dtype": self.base.dtype,
            }
        return self._content

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
    def agreement(self) -> Agreement:
        """The fast decoder against transformers' on a few validation images, asked once a process."""
        if self._agreement is None:
            self._agreement = compare_decoders(self.base.model, self.base, self._base_features[:CHECKED_IMAGES])
        return self._agreement

    @property
    def _base_features(self) -> torch.Tensor:
        return self.features("val", range(self.base.shape.vision_layers))

    @property
    def decode(self) -> Decode:
        """The fast decoder, or transformers' where the fast one does not agree with it on this machine.

        On a GPU for one evaluation, with captured steps where they agree too and pay: asked once a process.
        """
        if not self.agreement.good:
            return transformers_generate
        if self.base.device.type != "cuda":
            return shared_prefix
        if self._captured is None:
            try:
                features = self._base_features[: BATCH["cuda"]]
                self._captured = captured_is_faster(self.base.model, self.base, features)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                release()  # a neighbour's, perhaps: the next evaluation asks again
                return shared_prefix
        return CapturedDecoder() if self._captured else shared_prefix

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


def pad_id(base: Base) -> int:
    """The tokenizer's padding token."""
    return base.tokenizer.pad_token_id
