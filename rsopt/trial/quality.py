"""TODO."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.decoders import caption_features
from rsopt.caption.degenerate import check_garbage
from rsopt.common.out_of_memory import fitting
from rsopt.core.candidate import Leg
from rsopt.core.inference import BATCH, Generation
from rsopt.data.records import Sample
from rsopt.model.build import Built
from rsopt.training.losses import validation_loss
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.worker_context import WorkerContext, pad_id

RUNG_IMAGES = 256  # a rung before the last is judged by greedy captions of at most so many validation images


def measure_quality(
    leg: Leg,
    built: Built,
    plain: Blip2ForConditionalGeneration,
    worker: WorkerContext,
    clock: Stopwatch,
    yield_device: Callable[[], None],
) -> tuple[dict[str, float], dict[str, object]]:
    """Captions and scores on the validation split: full protocol at the last rung, greedy on a part of it before."""
    base, samples = worker.base, worker.data.split("val")
    step = 1 if leg.last else math.ceil(len(samples) / RUNG_IMAGES)
    chosen = samples[::step]
    with clock.timed("check"):  # once a process
        _ = worker.decode
    with clock.timed("caption"):
        inputs, queried = worker.inputs("val", built)
        captions = fitting(
            BATCH[base.device.type],
            lambda batch: caption_features(
                plain,
                base,
                inputs[::step],
                generation=Generation() if leg.last else Generation(beams=1),
                batch=batch,
                between_batches=yield_device,
                decode=worker.decode,  # anew in each attempt: one that ran out of memory may still hold some
                queried=queried,
            ),
        )
    with clock.timed("score"):
        metrics, record = score_captions(worker, chosen, captions, leg.last)
    if built.variant.lora is not None:  # the untuned base may say what it likes: it is a reference, not a candidate
        check_garbage(captions, [text for sample in chosen for text in sample.references])
    if leg.last:
        with clock.timed("val_loss"):
            val = worker.training_set("val", leg.candidate.variant.vision_layers, built)
            metrics["val_loss"] = fitting(32, lambda images: validation_loss(plain, val, pad_id(base), images))
    return metrics, record


def score_captions(
    worker: WorkerContext, samples: Sequence[Sample], captions: Sequence[str], every_metric: bool
) -> tuple[dict[str, float], dict[str, object]]:
    """CIDEr with its interval (and all other metrics if asked for) of captions of validation samples; what is written down."""
    answers = {sample.image_id: caption for sample, caption in zip(samples, captions, strict=True)}
    scorer = worker.scorer("val")
    score = scorer.cider_of_part(answers)
    low, high = score.interval()
    metrics = {"cider": score.corpus, "cider_low": low, "cider_high": high}
    if every_metric:
        metrics |= scorer.all(answers)
    return metrics, {"captions": answers, "cider": dict(zip(score.image_ids, score.per_image.tolist(), strict=True))}
