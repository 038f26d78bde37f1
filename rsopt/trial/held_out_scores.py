"""Scores on the test split, computed once for each trained model and form and stored beside its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.captioner import caption_samples
from rsopt.caption.degenerate import repetition
from rsopt.common.atomic_files import write_json
from rsopt.core.inference import InferenceConfig
from rsopt.data.records import CaptionData
from rsopt.latency.device import device_name
from rsopt.model.base import Base
from rsopt.model.export_manifest import HeldOutScores
from rsopt.scores.baselines import baselines_of
from rsopt.scores.scorer import scorer_of


def scores_on_test(
    path: Path,
    base: Base,
    model: Blip2ForConditionalGeneration,
    data: CaptionData,
    form: InferenceConfig,
    on_done: Callable[[int], None] | None = None,
) -> HeldOutScores:
    """Metrics x100 on the test split with intervals and baselines; read from `path` if they were computed before.

    Args:
        path: The file of the scores; it also holds captions and CIDEr by image.
        base: The base whose processor and tokenizer feed `model` (see `base_in_form`).
        model: The merged model in `form`.
        data: The data set.
        form: Precision of the weights, and beams.
        on_done: Called with the number of images captioned so far.
    """
    if path.exists():
        return HeldOutScores.from_json(json.loads(path.read_text())["scores"])
    samples = data.split("test")
    captions = caption_samples(model, base, samples, on_done, form.beams)
    scorer = scorer_of(data, "test")
    test = scorer.measure(captions, with_meteor=True)
    scores = HeldOutScores(
        images=len(captions),
        metrics=test.corpus | repetition([captions[s.image_id] for s in samples], [s.references for s in samples]),
        intervals={name: list(interval) for name, interval in test.intervals.items()},
        baselines=baselines_of(data, "test"),
        dtype=form.weights,
        beams=form.beams,
        device=device_name(base.device),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    cider = dict(zip(scorer.image_ids, test.per_image["cider"].tolist(), strict=True))
    write_json(path, {"scores": asdict(scores), "captions": captions, "cider": cider})
    return scores
