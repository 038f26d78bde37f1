"""What each trial's CIDEr is expected to be on fresh images.

A trial is on the front partly because its validation images suited it, so its score reads higher than it would again. The model
of the search says what the other measurements of the study would make one expect of it. Its score is moved towards that, by
the share of what the model leaves unexplained that comes from the images; the rest is its own, such as a lucky training, and
would be there again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from search.optimizer.surrogate import Surrogate
from search.results.front import ExpectedCider, Front
from search.results.ties import cider_by_image
from search.space.encoding import column_groups, encode
from search.study.history import History
from search.study.journal import read_trials
from search.study.trial_records import candidate_state

Array = NDArray[np.float64]
LEAST = 6  # trained to the end; of fewer the share of the images is not known
ROWS = 300  # most measurements that the model is fitted to
Z = 1.96  # standard deviations to either end of a 95 % interval


def mark_expected(front: Front, study: Path) -> Front:
    """Gives finished trials `expected_cider`; none where captions are gone or too few trials were trained to the end."""
    by_image = {t.id: scores for t in front.finished if (scores := cider_by_image(study, t))}
    if len(by_image) < LEAST:
        return front
    trials = read_trials(study)
    distributions = {name: over for trial in trials for name, over in trial.distributions.items()}
    predicted = predicted_without(tuple(map(candidate_state, trials)), distributions)
    numbers = [number for number in by_image if number in predicted]
    if len(numbers) < LEAST:
        return front
    ids = sorted(set.intersection(*(set(by_image[n]) for n in numbers)))
    noise = image_noise(np.array([[by_image[n][i] for i in ids] for n in numbers]))
    ciders = [front.trials[n].metrics["cider"] for n in numbers]
    found = dict(zip(numbers, expected(ciders, [predicted[n] for n in numbers], noise), strict=True))
    return replace(front, trials=tuple(replace(t, expected_cider=found.get(t.id)) for t in front.trials))


def predicted_without(history: History, distributions: Mapping[str, BaseDistribution]) -> dict[int, float]:
    """Returns by trial the final CIDEr that the search's model predicts from all measurements but the trial's own last one.

    distributions: of the space's parameters. Only trials that were trained to the end are predicted.
    """
    measured = sorted(
        (m.rung, order, c.number, m.metrics["cider"])
        for c in history
        if c.params
        for order, m in zip(c.order, c.rungs, strict=True)
        if "cider" in m.metrics
    )[-ROWS:]
    if len(measured) < LEAST:
        return {}
    rows = np.array([[*encode(history[number].params, distributions), rung] for rung, _, number, _ in measured])
    values = np.array([cider for *_, cider in measured])
    model = Surrogate(column_groups(distributions))
    model.tune(rows, values)
    left_out = model.fit(rows, values).left_out()
    return {number: float(mean) for (rung, _, number, _), mean in zip(measured, left_out, strict=True) if rung == 1.0}


def image_noise(ciders: Array) -> Array:
    """Returns the standard deviations (n,) of the mean CIDEr of n trials over other images that are as hard on the whole.

    ciders: by trial and image (n, images). How hard an image is, all trials have in common: the median correlation of a trial
    with the others is the share of its variance that this explains.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.nan_to_num(np.atleast_2d(np.corrcoef(ciders)))  # not a number: all images have the same score
    others = correlations[~np.eye(len(ciders), dtype=bool)].reshape(len(ciders), -1)
    common = np.clip(np.median(others, axis=1), 0.0, 1.0)
    variances: Array = (1 - common) * ciders.var(axis=1, ddof=1) / ciders.shape[1]
    return np.sqrt(variances)


def expected(ciders: Sequence[float], predicted: Sequence[float], noise: Sequence[float] | Array) -> list[ExpectedCider]:
    """Returns what is expected of trials with these scores on fresh images.

    predicted: by the model, without the score. noise: standard deviations of `image_noise`.
    """
    scores, unexplained, variances = np.array(ciders), np.subtract(ciders, predicted), np.square(noise)
    of_images = min(1.0, variances.sum() / max(np.square(unexplained).sum(), 1e-9))
    means = scores - of_images * unexplained
    # What the images did to the score is not known exactly, and the fresh images do the like again.
    halves = Z * np.sqrt(variances * (1 - of_images) + variances)
    return [ExpectedCider.of(float(mean), float(half)) for mean, half in zip(means, halves, strict=True)]
