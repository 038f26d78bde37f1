"""Scores on the test split: taken once for each trained model and precision, and kept beside its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.captioner import caption_samples
from rsopt.common.atomic_files import write_json
from rsopt.core.inference import InferenceConfig
from rsopt.data.records import CaptionData
from rsopt.latency.device import device_name
from rsopt.model.base import Base
from rsopt.model.export_manifest import HeldOutScores
from rsopt.scores.reference_points import ceiling_of, floor_of, scorer_of


def scores_on_test(
    path: Path,
    base: Base,
    model: Blip2ForConditionalGeneration,
    data: CaptionData,
    form: InferenceConfig,
    on_done: Callable[[int], None] | None = None,
) -> HeldOutScores:
    """Metrics x100 on the test split with intervals, floor and ceiling; read from `path` where they were computed before.

    `model` is merged and in `form`, `base` is as it is fed (`run_in`). The file also holds captions and CIDEr by image.
    """
    if path.exists():
        return HeldOutScores(**json.loads(path.read_text())["scores"])
    captions = caption_samples(model, base, data.split("test"), on_done, form.beams)
    scorer = scorer_of(data, "test")
    found = scorer.measure(captions, with_meteor=True)
    scores = HeldOutScores(
        images=len(captions),
        metrics=found.corpus,
        intervals={name: list(interval) for name, interval in found.intervals.items()},
        floor=floor_of(data, "test"),
        ceiling=ceiling_of(data, "test"),
        dtype=form.weights,
        beams=form.beams,
        device=device_name(base.device),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    cider = dict(zip(scorer.image_ids, found.per_image["cider"].tolist(), strict=True))
    write_json(path, {"scores": asdict(scores), "captions": captions, "cider": cider})
    return scores
