"""Packing: one image prefix shared by all its distinct captions, so that the LLM reads each image once.

The captions stand behind the query tokens one after another; a block-causal mask lets each see the prefix and itself only,
positions restart after the prefix, and repeated captions become weights. With dropout 0 the loss is the padded loss.
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
    """`</s>`, the caption's tokens and the newline that ends it; `weight` is how often the caption is repeated."""

    ids: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch. B images, Q query tokens, S packed caption tokens (padded to the longest)."""

    ids: torch.Tensor  # (B, S)
    positions: torch.Tensor  # (B, Q+S)
    visible: torch.Tensor  # (B, 1, Q+S, Q+S), True where attention is allowed
    targets: torch.Tensor  # (B, S), IGNORE where nothing is predicted
    weights: torch.Tensor  # (B, S)
    chosen: torch.Tensor  # (N,), where in the flattened (B, S) something is predicted: found here, where nothing waits


def pack(batch: Sequence[Sequence[TokenCaption]], queries: int, pad_id: int) -> Packed:
    """Pack the captions of each image behind `queries` prefix positions. Raises ValueError if an image has no caption."""
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
    same = segment[:, :, None] == segment[:, None, :]  # padding sees padding: no row of the mask is empty
    visible = np.tril(np.ones((total, total), bool)) & (same | prefix)
    chosen = np.flatnonzero(targets != IGNORE)
    return Packed(*map(torch.from_numpy, (ids, positions, visible[:, None], targets, weights, chosen)))


def batches(lengths: Sequence[int], size: int, rng: np.random.Generator, bucket: int = 16) -> Iterator[list[int]]:
    """Indices in random batches of images of like packed length: shuffled, sorted within `bucket` batches, shuffled again."""
    order = rng.permutation(len(lengths))
    found: list[list[int]] = []
    for start in range(0, len(order), size * bucket):
        part = sorted(order[start : start + size * bucket].tolist(), key=lambda i: lengths[i])
        found += [part[i : i + size] for i in range(0, len(part), size)]
    for index in rng.permutation(len(found)):
        yield found[index]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features (images, tokens, width) and token captions of the same images, in the same order.

    `queried`: the features are what a frozen Q-Former read from the images, (images, queries, Q-Former width).
    `rows`: whose features entry i of `captions` has, where that is not row i; `starts`: where its targets stand among those of
    the packed set, for what is kept of them elsewhere (a teacher's answers).
    """

    features: torch.Tensor
    captions: Sequence[Sequence[TokenCaption]]
    queried: bool = False
    rows: Sequence[int] | None = None
    starts: Sequence[int] | None = None

    def features_of(self, chosen: Sequence[int]) -> torch.Tensor:
        """Features of these entries, (B, tokens, width)."""
        rows = torch.tensor([i if self.rows is None else self.rows[i] for i in chosen])
        return self.features[move(rows, self.features.device)]


def target_starts(captions: Sequence[Sequence[TokenCaption]]) -> list[int]:
    """Where the targets of each entry begin when all entries are packed, in order; one more for the end."""
    return [0, *accumulate(sum(len(c.ids) - 1 for c in own) for own in captions)]


def in_pairs(data: TrainingSet) -> TrainingSet:
    """Every caption behind an image of its own, as often as it is repeated, in place of all captions behind one image."""
    captions: list[tuple[TokenCaption]] = []
    rows, starts = list[int](), list[int]()
    for image, (own, start) in enumerate(zip(data.captions, target_starts(data.captions), strict=False)):
        for caption in own:
            times = int(caption.weight)
            captions += [(TokenCaption(caption.ids, 1.0),)] * times
            rows += [image] * times
            starts += [start] * times
            start += len(caption.ids) - 1
    return TrainingSet(data.features, captions, data.queried, rows, starts)


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On `device`, without waiting for what the device still does: a copy from pageable memory would."""
    if tensor.device == device or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
