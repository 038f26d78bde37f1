"""Bootstrap over images: intervals of corpus scores and of the difference between captioners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Interval = tuple[float, float]
RESAMPLES = 2000
_LEVEL = 0.95
_AT_ONCE = 2_000_000  # numbers drawn at once: bounds memory for large sets


def bootstrap_interval(per_image: Sequence[float] | np.ndarray, seed: int = 0) -> Interval:
    """Return the 95 % percentile interval of the mean over images, in the unit of `per_image` [images]."""
    values = np.asarray(per_image, dtype=float)
    return _interval(np.concatenate([values[drawn].mean(axis=1) for drawn in _draws(len(values), seed)]))


def corpus_interval(counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> np.ndarray:
    """Return 95 % intervals [2, ...] of a metric of summed counts [images, k], such as BLEU.

    `score` maps sums [n, k] to scores [n, ...].
    """
    sums = np.concatenate([_sums(counts, drawn) for drawn in _draws(len(counts), seed)])
    return np.quantile(score(sums), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)


def paired_bootstrap(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of a - b and its 95 % interval: (difference, low, high).

    a and b are scores of the same images in the same order. The captioners can be told apart if the interval excludes 0.
    Raises ValueError if the lengths differ.
    """
    one, other = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"paired scores must be of the same images: {one.shape} and {other.shape}")
    return float((one - other).mean()), *bootstrap_interval(one - other, seed)


def paired_over_seeds(
    a: Sequence[Sequence[float]] | np.ndarray, b: Sequence[Sequence[float]] | np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of a - b and its 95 % interval for captioners trained several times: (difference, low, high).

    a, b [trainings, images] are scores of the same images in the same order. Images (in pairs) and trainings are resampled, so
    the interval covers other images and other seeds. Raises ValueError if the numbers of images differ.
    """
    one, other = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"paired scores must be of the same images: {one.shape} and {other.shape}")
    rng = np.random.default_rng([seed, 1])
    differences = []
    for drawn in _draws(one.shape[1], seed):
        means = []
        for scores in (one, other):
            by_training = scores[:, drawn].mean(axis=2)  # (trainings, resamples)
            chosen = rng.integers(len(scores), size=by_training.T.shape)
            means.append(np.take_along_axis(by_training.T, chosen, axis=1).mean(axis=1))
        differences.append(means[0] - means[1])
    return float(one.mean() - other.mean()), *_interval(np.concatenate(differences))


def indistinguishable(per_image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return which captioners cannot be told apart: per_image [captioners, images] -> flags [captioners, captioners].

    Equal to `paired_bootstrap` of all pairs, but resamples once. The diagonal is True.
    """
    values = np.asarray(per_image, dtype=float)
    means = np.concatenate([values[:, drawn].mean(axis=2).T for drawn in _draws(values.shape[1], seed)])
    flags = np.eye(len(values), dtype=bool)
    for one in range(len(values)):
        low, high = np.quantile(means[:, [one]] - means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
        flags[one] |= (low <= 0) & (high >= 0)
    return flags


def _draws(images: int, seed: int) -> Iterator[np.ndarray]:
    """Yield image numbers drawn with replacement, in total [resamples, images]."""
    if images < 1:
        raise ValueError("a bootstrap needs at least one image")
    rng = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // images)
    for start in range(0, RESAMPLES, rows):
        yield rng.integers(images, size=(min(rows, RESAMPLES - start), images))


def _sums(counts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Sums of the drawn rows [resamples, k], from the number of draws of each image, without copies of the rows."""
    images = len(counts)
    shifted = drawn + images * np.arange(len(drawn))[:, None]
    times = np.bincount(shifted.ravel(), minlength=images * len(drawn)).reshape(len(drawn), images)
    return times @ counts


def _interval(means: np.ndarray) -> Interval:
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
