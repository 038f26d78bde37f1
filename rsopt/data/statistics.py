"""What a data set's captions will do to training and scores: repetition, overlap with training, words, unusual captions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from rsopt.data.garbled import is_garbled
from rsopt.data.records import SPLITS, Sample

OUTLIER = 3  # times the 95th percentile, in words or characters
_SHARE_RATIO, _SHARE_APART, _DISTINCT_RATIO, _ERRORS = 2.0, 0.10, 1.2, 3.0


def caption_statistics(samples: Sequence[Sample], limit: int) -> dict[str, Any]:
    """Return the statistics of these samples' captions; captions longer than `limit` tokens are named.

    Words are separated by spaces, without periods. Shares count a repeated caption as often as it occurs, as scores do.
    """
    by_split = {split: [s for s in samples if s.split == split] for split in SPLITS}
    train = by_split["train"]
    texts = {c.text for s in train for c in s.captions}
    known = {word for text in texts for word in words_of(text)}
    return {
        "splits": {split: split_statistics(of_split, texts, known) for split, of_split in by_split.items()},
        "val_and_test_differ": difference(by_split["val"], by_split["test"], texts),
        "words": lengths(samples),
        "unusual": unusual(samples, limit),
    }


def words_of(text: str) -> list[str]:
    """The words of a cleaned caption."""
    return [word for word in text.split() if word != "."]


def split_statistics(samples: Sequence[Sample], in_training: set[str], known: set[str]) -> dict[str, float | None]:
    """Distinct captions an image, share of captions that stand word for word in training, share of words it lacks."""
    captions = [c for s in samples for c in s.captions]
    if not captions:
        return {"distinct_an_image": None, "in_training": None, "unknown_words": None}
    total = sum(c.count for c in captions)
    words = [(word, c.count) for c in captions for word in words_of(c.text)]
    running = sum(count for _, count in words)
    return {
        "distinct_an_image": len(captions) / len(samples),
        "in_training": sum(c.count for c in captions if c.text in in_training) / total,
        "unknown_words": sum(count for word, count in words if word not in known) / running if running else 0.0,
    }


def difference(val: Sequence[Sample], test: Sequence[Sample], in_training: set[str]) -> str | None:
    """Return a sentence where validation and test are different kinds of data, else None.

    They are if one has twice the other's share of captions that stand in training, and at least 10 of 100 more, or 1.2 times
    the distinct captions an image; and if the difference is more than three standard errors over images.
    """
    if not val or not test:
        return None
    shares, distinct = (
        [np.array([of(s) for s in samples], float) for samples in (val, test)]
        for of in (lambda s: _share(s, in_training), lambda s: len(s.captions))
    )
    low, high = sorted(float(v.mean()) for v in shares)
    few, many = sorted(float(v.mean()) for v in distinct)
    by_share = high >= _SHARE_RATIO * low and high - low >= _SHARE_APART and _beyond_chance(*shares)
    by_distinct = many >= _DISTINCT_RATIO * few and _beyond_chance(*distinct)
    if not by_share and not by_distinct:
        return None
    return (
        f"val and test are different kinds of data: val has {distinct[0].mean():.2f} distinct captions an image and "
        f"{100 * shares[0].mean():.0f} % of its captions stand word for word in training, test has {distinct[1].mean():.2f} and "
        f"{100 * shares[1].mean():.0f} %. CIDEr of the two splits cannot be compared."
    )


def lengths(samples: Sequence[Sample]) -> dict[str, float]:
    """Words of the distinct captions: mean, spread, longest, vocabulary. Empty if there are none."""
    words = [words_of(text) for text in {c.text for s in samples for c in s.captions}]
    if not words:
        return {}
    counts = np.array([len(w) for w in words])
    return {
        "mean": float(counts.mean()),
        "sd": float(counts.std()),
        "p95": float(np.quantile(counts, 0.95)),
        "longest": int(counts.max()),
        "vocabulary": len({w for one in words for w in one}),
    }


def unusual(samples: Sequence[Sample], limit: int) -> dict[str, Any]:
    """Return captions that are garbled, those of more than `limit` tokens of tiny's tokenizer, and those far longer than most.

    `share` is their share of all captions. Each is named with image, split, words, characters and tokens.
    """
    captions = [(s, c) for s in samples for c in s.captions]
    texts = [c.text for _, c in captions]
    tokens = _tokens(texts, limit)
    words = [len(words_of(text)) for text in texts]
    most = [OUTLIER * float(np.quantile(of, 0.95)) if of else math.inf for of in (words, [len(t) for t in texts])]
    captions_by_kind: dict[str, list[dict[str, Any]]] = {"garbled": [], "too_long": [], "outliers": []}
    odd = 0
    for (sample, caption), count in zip(captions, words, strict=True):
        text = caption.text
        kinds = {
            "garbled": is_garbled(text),
            "too_long": tokens.get(text, 0) > limit and not is_garbled(text),
            "outliers": count > most[0] or len(text) > most[1],
        }
        odd += caption.count * any(kinds.values())
        entry = {"image": sample.image_id, "split": sample.split, "words": count, "characters": len(text)}
        for kind in (kind for kind, applies in kinds.items() if applies):
            captions_by_kind[kind].append(entry | {"tokens": tokens.get(text)})
    total = sum(c.count for _, c in captions)
    return {"limit_tokens": limit, "captions": odd, "share": odd / total if total else 0.0, **captions_by_kind}


def _share(sample: Sample, in_training: set[str]) -> float:
    return sum(c.count for c in sample.captions if c.text in in_training) / sum(c.count for c in sample.captions)


def _beyond_chance(one: np.ndarray, other: np.ndarray) -> bool:
    error = math.sqrt(one.var() / len(one) + other.var() / len(other))
    return abs(float(one.mean() - other.mean())) > _ERRORS * error


def _tokens(texts: Sequence[str], limit: int) -> Mapping[str, int]:
    """Tokens of the captions that may have more than `limit`: a token is at least one byte."""
    long = sorted({text for text in texts if len(text.encode()) > limit})
    if not long:
        return {}
    from tokenizers import Tokenizer  # a tenth of the time that transformers takes to import

    tokenizer = Tokenizer.from_file(str(files("rsopt.tiny") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = tokenizer.encode_batch_fast(long, add_special_tokens=False)
    return {text: len(e.ids) for text, e in zip(long, encoded, strict=True)}
