"""Per-process cache shared by consecutive trials: base, data, features, tokenized captions, scorers."""

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
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.cost.model import CostModel
from rsopt.data.garbled import learned_captions
from rsopt.data.records import SPLITS, CaptionData, Sample
from rsopt.model.base import Base
from rsopt.model.build import Built
from rsopt.model.prefix import qformer_outputs
from rsopt.model.vision_features import Progress, feature_key, load_features, place, weights_digest
from rsopt.scores.scorer import Scorer, scorer_of
from rsopt.training.dataset import TokenCaption
from rsopt.training.trainer import TrainingSet

_QFORMERS = 2  # whose outputs are cached: trials of one search often share theirs


@dataclass(slots=True)
class WorkerContext:
    """Everything is made when it is first needed and cached for the life of the process; features by set of vision layers."""

    base: Base
    data: CaptionData
    progress: Progress | None = None
    _features: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)
    _queried: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[str, torch.Tensor]] = field(default_factory=dict)
    _keys: dict[tuple[int, ...], str] = field(default_factory=dict)
    _tokens: dict[tuple[str, int], tuple[TokenCaption, ...]] = field(default_factory=dict)
    _scorers: dict[str, Scorer] = field(default_factory=dict)
    _costs: CostModel | None = None
    _agreement: Agreement | None = None
    _captured: bool | None = None
    _content: dict[str, Any] | None = None

    def features(self, split: str, vision_layers: Sequence[int]) -> torch.Tensor:
        """Vision features of one split, in file order: (images, tokens, width). A view: nothing is copied."""
        key = tuple(vision_layers)
        if key not in self._features:
            # Split by split, so that each is a contiguous part of the file.
            samples = [sample for name in SPLITS for sample in self.data.split(name)]
            self._features[key] = place(load_features(self.base, samples, key, self.progress), self.base.device)
        start = sum(len(self.data.split(name)) for name in SPLITS[: SPLITS.index(split)])
        return self._features[key][start : start + len(self.data.split(split))]

    def queried(self, split: str, built: Built) -> torch.Tensor:
        """Outputs of the frozen Q-Former of `built` for the images of a split: (images, queries, Q-Former width).

        Computed once for all trials that leave these Q-Former layers frozen; cached for the last few sets of layers.
        """
        variant = built.variant
        assert variant.lora is None or variant.lora.qformer is None
        key = (variant.vision_layers, variant.qformer_layers)
        by_split = self._queried.setdefault(key, {})
        while len(self._queried) > _QFORMERS:
            self._queried.pop(next(iter(self._queried)))
        if split not in by_split:
            features = self.features(split, variant.vision_layers)
            with torch.no_grad():  # not inference_mode: training saves these for its backward pass
                parts = [qformer_outputs(built.model, part.to(self.base.device)).cpu() for part in features.split(64)]
            by_split[split] = place(torch.cat(parts), self.base.device)
        return by_split[split]

    def inputs(self, split: str, built: Built) -> tuple[torch.Tensor, bool]:
        """Inputs of `built` for the images of a split: Q-Former outputs and True if that is frozen, else features and False."""
        if built.variant.lora is not None and built.variant.lora.qformer is None:
            return self.queried(split, built), True
        return self.features(split, built.variant.vision_layers), False

    def training_set(
        self, split: str, vision_layers: Sequence[int], built: Built | None = None, limit: int = CAPTION_TOKENS
    ) -> TrainingSet:
        """Inputs and token captions of the images of a split that have a caption, each caption cut to `limit` tokens.

        Without `built` the inputs are features. Validation losses leave `limit` alone, so that they compare.
        """
        samples = self.data.split(split)
        captioned = [i for i, sample in enumerate(samples) if self.tokens(sample, limit)]
        features, queried = (self.features(split, vision_layers), False) if built is None else self.inputs(split, built)
        if len(captioned) < len(samples):
            features = features[torch.tensor(captioned)]
        return TrainingSet(features, [self.tokens(samples[i], limit) for i in captioned], queried)

    def feature_key(self, vision_layers: Sequence[int]) -> str:
        """Digest of everything that the features depend on."""
        key = tuple(vision_layers)
        if key not in self._keys:
            self._keys[key] = feature_key(self.base, self.data.samples, key)
        return self._keys[key]

    @property
    def content(self) -> dict[str, Any]:
        """Data for digests of anything computed from base and training split: weights, images, captions, dtype."""
        if self._content is None:
            self._content = {
                "weights": weights_digest(self.base.model),
                "features": self.feature_key(range(self.base.shape.vision_layers)),
                "captions": [[s.image_id, [[c.text, c.count] for c in s.captions]] for s in self.data.split("train")],
                "dtype": self.base.dtype,
            }
        return self._content

    def tokens(self, sample: Sample, limit: int = CAPTION_TOKENS) -> tuple[TokenCaption, ...]:
        """Distinct captions of an image as `</s> text newline`, weighted by repetition; garbled ones are left out.

        Captions are cut to `limit` tokens, or to what the base has positions for.
        """
        limit = min(limit, self.base.shape.caption_room)
        if (key := (sample.image_id, limit)) not in self._tokens:
            start, end = self.base.start_id, self.base.end_id
            self._tokens[key] = tuple(
                TokenCaption.cut(start, self._encode(c.text), end, float(c.count), limit) for c in learned_captions(sample)
            )
        return self._tokens[key]

    def scorer(self, split: str) -> Scorer:
        """The scorer of a split; references are tokenised and counted once."""
        if split not in self._scorers:
            self._scorers[split] = scorer_of(self.data, split)
        return self._scorers[split]

    @property
    def agreement(self) -> Agreement:
        """Comparison of the fast decoder with transformers' on a few validation images, made once a process."""
        if self._agreement is None:
            self._agreement = compare_decoders(self.base.model, self.base, self._base_features[:CHECKED_IMAGES])
        return self._agreement

    @property
    def _base_features(self) -> torch.Tensor:
        return self.features("val", range(self.base.shape.vision_layers))

    @property
    def decode(self) -> Decode:
        """The fast decoder, or transformers' if the two do not agree on this machine.

        On a GPU the fast decoder captures its steps in a CUDA graph if those agree too and save time, which is tested once a
        process. The returned decoder serves one evaluation.
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
                release()  # perhaps another process took the memory: the next evaluation tests again
                return shared_prefix
        return CapturedDecoder() if self._captured else shared_prefix

    @property
    def costs(self) -> CostModel:
        """Cost model of this base's variants."""
        if self._costs is None:
            self._costs = CostModel(self.base.model.config)
        return self._costs

    @property
    def reference_tokens(self) -> int:
        """Mean length of the validation references in tokens, end token included: new tokens of the latency protocol."""
        tokens = [c for s in self.data.split("val") for c in self.tokens(s)]
        return round(sum(c.weight * (len(c.ids) - 1) for c in tokens) / sum(c.weight for c in tokens))

    def _encode(self, text: str) -> list[int]:
        return self.base.tokenizer(text, add_special_tokens=False)["input_ids"]


def pad_id(base: Base) -> int:
    """The tokenizer's padding token."""
    return base.tokenizer.pad_token_id
