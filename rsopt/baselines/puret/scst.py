"""Self-critical training (Rennie et al., 1612.00563): sampled captions are rewarded by their CIDEr minus the greedy caption's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from rsopt.scores.cider import CiderScorer

# A word for the end of a caption: without it, stopping in the middle of a phrase would cost nothing.
END = "<end>"


class Reward:
    """CIDEr-D 0..10 against training references, with the training split's document frequencies."""

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        """`references`: {image id: tokenised captions, repeated ones as often as they occur}."""
        self._scorer = CiderScorer({i: [f"{text} {END}" for text in texts] for i, texts in references.items()})

    def __call__(self, image_ids: Sequence[str], captions: Sequence[str], ended: Sequence[bool]) -> np.ndarray:
        """Scores (images,) of one tokenised caption an image; `ended` is False where it was cut off."""
        texts = [f"{text} {END}" if end else text for text, end in zip(captions, ended, strict=True)]
        return self._scorer.score(dict(zip(image_ids, texts, strict=True)))[1]


def policy_loss(logits: Tensor, sampled: Tensor, advantage: Tensor) -> Tensor:
    """Minus advantage times log-probability, averaged over words up to and including each end.

    logits (B, L, words) of sampled captions (B, L), which are 0 from the end on; advantage (B,).
    """
    ends = (sampled == 0).long()
    counted = (ends.cumsum(1) - ends == 0).float()
    log_probability = -functional.cross_entropy(logits.float().transpose(1, 2), sampled, reduction="none")
    return -(advantage[:, None] * log_probability * counted).sum() / counted.sum()
