"""Measures a trained model in another form (precision, beams): captions of the validation split, latency and size."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.captioner import caption_samples
from rsopt.caption.degenerate import repetition
from rsopt.core.inference import InferenceConfig
from rsopt.errors import CandidateError
from rsopt.latency.ledger import Ledger
from rsopt.latency.protocol import latency_context
from rsopt.latency.session import measure_latency
from rsopt.model.base import DTYPES, Base
from rsopt.model.quantization import convert_model, stored_mb
from rsopt.model.vision_features import pixels
from rsopt.trial.context import TrialContext
from rsopt.trial.latency_metrics import latency_metrics

CARD_FIELDS = ("beams", "new_tokens", "runs", "device", "decoder")  # of a latency, for the model card


def measure_inference_variant(
    context: TrialContext, plain: Blip2ForConditionalGeneration, form: InferenceConfig, ledger: Ledger
) -> dict[str, Any]:
    """Measures a merged model in `form`. Returns `metrics`, `latency`, and `captions` and `cider` by validation image.

    The protocol is the search's except for the form: latency is relative to the same reference in the search's own form, and
    on the scale of the study's ledger where that has one. `ledger` holds the latencies of these forms, which no search reads;
    temporary files go beside it. Raises CandidateError where a metric is not finite.
    """
    base, protocol = context.worker.base, context.protocol
    samples, scorer = context.worker.data.split("val"), context.worker.scorer("val")
    with context.device_lock.shared():
        model = convert_model(plain, base, form, ledger.path.parent)
        captions = caption_samples(model, base_in_form(model, base, form), samples, lambda _: context.yield_device(), form.beams)
        score = scorer.cider_of_part(captions)
        low, high = score.interval()
        metrics = {**scorer.all(captions), "cider_low": low, "cider_high": high}
        metrics |= repetition([captions[s.image_id] for s in samples], [s.references for s in samples])
    key = latency_context(base, protocol)
    latency, _ = ledger.get_or_measure(
        {**key, "form": asdict(form)},
        context.leg.candidate.variant.architecture(base.dtype, base.shape),
        lambda: measure_latency(model, base, pixels(base, samples[:1]), protocol, context.device_lock, beams=form.beams),
    )
    latency = context.ledger.on_scale(key, base.dtype, latency)
    metrics |= latency_metrics(latency)
    metrics |= {"params": float(sum(p.numel() for p in plain.parameters())), "size_mb": stored_mb(model)}
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise CandidateError("nan", f"{', '.join(bad)} not finite as {form.name}")
    card = {name: value for name, value in latency.to_json().items() if name in CARD_FIELDS} | {"dtype": form.weights}
    return {
        "metrics": metrics,
        "latency": card,
        "captions": captions,
        "cider": dict(zip(score.image_ids, score.per_image.tolist(), strict=True)),
    }


def base_in_form(model: Blip2ForConditionalGeneration, base: Base, form: InferenceConfig) -> Base:
    """Returns the base with `model` in it, and the dtype that `model` is fed."""
    dtype = next((name for name, kind in DTYPES.items() if kind == model.dtype), base.dtype)
    return replace(base, model=model, dtype=base.dtype if form.quantised else dtype)
