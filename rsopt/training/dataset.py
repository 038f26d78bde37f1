"""Packing: all distinct captions of an image share one prefix, so that the LLM reads each image once.

The captions follow the query tokens one after another. A block-causal mask lets each attend to the prefix and itself only,
positions restart after the prefix, and repeated captions become weights. With dropout 0 the loss equals the padded loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

IGNORE = -100


@dataclass(frozen=True, slots=True)
class TokenCaption:
    """`</s>`, the caption's tokens and the newline that ends it. `weight` counts the caption's repetitions.

    A caption that was cut has no newline: a model that learned it would learn to stop in the middle of a sentence.
    """

    ids: tuple[int, ...]
    weight: float

    @classmethod
    def cut(cls, start: int, tokens: Sequence[int], end: int, weight: float, limit: int) -> TokenCaption:
        """Returns the caption of these `tokens`, of which the first `limit` stay."""
        return cls((start, *tokens[:limit], *(() if len(tokens) > limit else (end,))), weight)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch. B images, Q query tokens, S packed caption tokens (padded to the longest)."""

    ids: torch.Tensor  # (B, S)
    positions: torch.Tensor  # (B, Q+S)
    visible: torch.Tensor  # (B, 1, Q+S, Q+S), True where attention is allowed
    targets: torch.Tensor  # (B, S), IGNORE where nothing is predicted
    weights: torch.Tensor  # (B, S)
    chosen: torch.Tensor  # (N,), targets' indices in the flattened (B, S); computed on the CPU, where no device waits


def pack(batch: Sequence[Sequence[TokenCaption]], queries: int, pad_id: int) -> Packed:
    """Packs the captions of each image behind `queries` prefix positions. Raises ValueError if an image has no caption."""
    if not all(batch):
        raise ValueError("an image without caption cannot be packed")
    width = max(sum(len(c.ids) for c in captions) for captions in batch)
    shape, total = (len(batch), width), queries + width
    ids = np.full(shape, pad_id)
    targets = np.full(shape, IGNORE)
    weights = np.zeros(shape, np.float32)
    positions = np.tile(np.arange(total), (len(batch), 1))
    segment = np.zeros((len(batch), total), np.int64)  # 0 prefix, k the k-th caption, -1 padding
    segment[:, queries:] = -1
    for row, captions in enumerate(batch):
        at = 0
        for k, caption in enumerate(captions, start=1):
            end = at + len(caption.ids)
            ids[row, at:end] = caption.ids
            targets[row, at : end - 1] = caption.ids[1:]
            weights[row, at : end - 1] = caption.weight
            positions[row, queries + at : queries + end] = np.arange(queries, queries + len(caption.ids))
            segment[row, queries + at : queries + end] = k
            at = end
        positions[row, queries + at :] = 0
    prefix = (segment == 0)[:, None, :]
    same = segment[:, :, None] == segment[:, None, :]  # padding attends to padding, so that no row of the mask is empty
    visible = np.tril(np.ones((total, total), bool)) & (same | prefix)
    chosen = np.flatnonzero(targets != IGNORE)
    return Packed(*map(torch.from_numpy, (ids, positions, visible[:, None], targets, weights, chosen)))


def batches(lengths: Sequence[int], size: int, rng: np.random.Generator, bucket: int = 16) -> Iterator[list[int]]:
    """Yields random batches of indices with similar lengths: shuffled, sorted within `bucket` batches, shuffled again."""
    order = rng.permutation(len(lengths))
    parts: list[list[int]] = []
    for start in range(0, len(order), size * bucket):
        part = sorted(order[start : start + size * bucket].tolist(), key=lambda i: lengths[i])
        parts += [part[i : i + size] for i in range(0, len(part), size)]
    for index in rng.permutation(len(parts)):
        yield parts[index]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features (images, tokens, width) and token captions of the same images, in the same order.

    `queried`: the features are outputs of a frozen Q-Former, (images, queries, Q-Former width). `rows`: the row of features of
    each entry of `captions`, if not its own index. `starts`: the index of its first target among those of the packed set, which
    a teacher's answers are stored by.
    """

    features: torch.Tensor
    captions: Sequence[Sequence[TokenCaption]]
    queried: bool = False
    rows: Sequence[int] | None = None
    starts: Sequence[int] | None = None

    def features_of(self, chosen: Sequence[int]) -> torch.Tensor:
        """Returns the features of these entries, (B, tokens, width)."""
        rows = torch.tensor([i if self.rows is None else self.rows[i] for i in chosen])
        return self.features[move(rows, self.features.device)]


def target_starts(captions: Sequence[Sequence[TokenCaption]]) -> list[int]:
    """Returns the index of each entry's first target among those of all entries, and last the number of targets."""
    return [0, *accumulate(sum(len(c.ids) - 1 for c in of_image) for of_image in captions)]


def in_pairs(data: TrainingSet) -> TrainingSet:
    """Returns the set unpacked: each repetition of a caption is an entry of its own."""
    captions: list[tuple[TokenCaption]] = []
    rows, starts = list[int](), list[int]()
    for image, (of_image, start) in enumerate(zip(data.captions, target_starts(data.captions), strict=False)):
        for caption in of_image:
            times = int(caption.weight)
            captions += [(TokenCaption(caption.ids, 1.0),)] * times
            rows += [image] * times
            starts += [start] * times
            start += len(caption.ids) - 1
    return TrainingSet(data.features, captions, data.queried, rows, starts)


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Moves a tensor to `device` by way of pinned memory: a copy from pageable memory would wait for the device."""
    if tensor.device == device or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
