"""TrainingSet: what a variant is tuned on, packed (all captions behind one image) or as pairs of an image and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from rsopt.pack import TokenCaption


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
