"""Detects captions of a broken model (empty, endless, the same for every image) and of one that has stopped looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rsopt.errors import CandidateError

FEW = 20  # images, below which many equal captions say nothing
COLLAPSED_SHARE = 0.25  # of the images, that get one caption


def garbage(captions: Sequence[str], references: Sequence[str]) -> str | None:
    """Returns why these captions are garbage, or None: most are empty or endless, or all are the same.

    A candidate with such captions gets a state with a reason instead of a low score.
    """
    words = [len(c.split()) for c in captions]
    longest = max((len(r.split()) for r in references), default=0)
    empty = sum(n == 0 for n in words) / len(words)
    endless = sum(n > 2 * longest or _looping(c) for n, c in zip(words, captions, strict=True)) / len(words)
    most, times = Counter(captions).most_common(1)[0]
    if empty > 0.5:
        return f"{empty:.0%} of the captions are empty"
    if endless > 0.5:
        return f"{endless:.0%} of the captions never end or repeat themselves"
    if len(captions) >= FEW and times == len(captions):
        return f"every image gets the same caption: '{most[:60]}'"
    return None


def _looping(caption: str) -> bool:
    """Whether one word makes up more than half of a caption of at least eight words."""
    words = caption.split()
    return len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) / 2


def check_garbage(captions: Sequence[str], references: Sequence[str]) -> None:
    """Raises CandidateError when the captions are garbage."""
    if reason := garbage(captions, references):
        raise CandidateError("garbage", reason)


def repetition(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns the metrics `distinct_captions` and `commonest_share`, the share of the images with the commonest caption.

    Adds `collapsed` 1 where one caption goes to more than a quarter of at least 20 images, and to more than twice the share of
    the images that have the commonest reference: data with few distinct captions does not count against a model.
    """
    counts = Counter(captions)
    share = max(counts.values()) / len(captions)
    common = max(Counter(text for texts in references for text in set(texts)).values(), default=0) / len(captions)
    metrics = {"distinct_captions": float(len(counts)), "commonest_share": share}
    if len(captions) >= FEW and share > max(COLLAPSED_SHARE, 2 * common):
        metrics["collapsed"] = 1.0
    return metrics
