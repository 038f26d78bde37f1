"""Captions and scores of a trainee on the validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rsopt.caption.degenerate import check_garbage, repetition
from rsopt.common.out_of_memory import halve_until_fits
from rsopt.core.inference import BATCH, BEAMS
from rsopt.data.records import Sample
from rsopt.trial.context import TrialContext
from rsopt.trial.trainee import Trainee
from rsopt.trial.worker_context import WorkerContext

RUNG_IMAGES = 256  # most validation images that are captioned, greedily, at a rung before the last


def measure_quality(context: TrialContext, trainee: Trainee) -> tuple[dict[str, float], dict[str, object]]:
    """Metrics, and captions with CIDEr by image: the full protocol at the last rung, greedy on a part of the split before.

    Raises CandidateError for a trained model whose captions are garbage.
    """
    worker, stopwatch, last = context.worker, context.stopwatch, context.leg.last
    samples = worker.data.split("val")
    every = 1 if last else math.ceil(len(samples) / RUNG_IMAGES)
    chosen = samples[::every]
    with stopwatch.timed("caption"):
        captions = halve_until_fits(
            BATCH[worker.base.device.type], lambda batch: trainee.caption(every, BEAMS if last else 1, batch)
        )
    with stopwatch.timed("score"):
        metrics, record = _score_captions(worker, chosen, captions, last)
    if trainee.is_trained:  # the untuned base is a reference, not a candidate: its captions may be garbage
        check_garbage(captions, [text for sample in chosen for text in sample.references])
    if last:
        with stopwatch.timed("val_loss"):
            metrics["val_loss"] = trainee.validation_loss()
    return metrics, record


def _score_captions(
    worker: WorkerContext, samples: Sequence[Sample], captions: Sequence[str], every_metric: bool
) -> tuple[dict[str, float], dict[str, object]]:
    """Metrics: CIDEr with its interval, all others if `every_metric`; and captions with CIDEr by image."""
    by_image = {sample.image_id: caption for sample, caption in zip(samples, captions, strict=True)}
    scorer = worker.scorer("val")
    score = scorer.cider_of_part(by_image)
    low, high = score.interval()
    metrics = {"cider": score.corpus, "cider_low": low, "cider_high": high}
    metrics |= repetition(captions, [sample.references for sample in samples])
    if every_metric:
        metrics |= scorer.all(by_image)
    return metrics, {"captions": by_image, "cider": dict(zip(score.image_ids, score.per_image.tolist(), strict=True))}
