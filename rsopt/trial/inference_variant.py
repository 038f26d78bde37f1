"""Measure a trained model in a form that needs no training: captions of the validation split, latency, size."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import Blip2ForConditionalGeneration

from rsopt.caption.captioner import caption_samples
from rsopt.core.inference import InferenceConfig
from rsopt.core.variant import Variant
from rsopt.errors import CandidateError
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.latency.protocol import Protocol, latency_context
from rsopt.latency.session import measure_latency
from rsopt.model.base import DTYPES, Base
from rsopt.model.quantization import in_form, stored_mb
from rsopt.model.vision_features import pixels
from rsopt.trial.latency_metrics import latency_metrics
from rsopt.trial.worker_context import WorkerContext

TOLD = ("beams", "new_tokens", "runs", "device", "decoder")  # of a latency, on a model card


def measure_inference_variant(
    plain: Blip2ForConditionalGeneration,
    variant: Variant,
    form: InferenceConfig,
    worker: WorkerContext,
    device_lock: DeviceLock,
    scratch: Path,
    ledger: Ledger,
    study_ledger: Ledger,
    decoder: str,
) -> dict[str, Any]:
    """A merged model in `form`: `metrics`, and `captions` and `cider` by validation image, as a leg writes them down.

    The protocol is the search's but for the form: latency is relative to the same reference in the search's own form, so on
    the study's scale where `study_ledger` has one. `ledger` is of forms alone: no search ever reads it.
    """
    base = worker.base
    with device_lock.shared():
        model = in_form(plain, base, form, scratch)
        there = run_in(model, base, form)
        samples = worker.data.split("val")
        captions = caption_samples(model, there, samples, lambda images: device_lock.yield_to_measurement(), form.beams)
        score = worker.scorer("val").cider_of_part(captions)
        low, high = score.interval()
        metrics = {**worker.scorer("val").all(captions), "cider_low": low, "cider_high": high}
    protocol = Protocol.for_device(base.device, worker.reference_tokens, decoder)
    context = latency_context(base, protocol)
    latency, _ = ledger.get_or_measure(
        {**context, "form": asdict(form)},
        variant.architecture(base.dtype, base.shape),
        lambda: measure_latency(model, base, pixels(base, samples[:1]), protocol, device_lock, beams=form.beams),
    )
    if (scale := study_ledger.reference_ms(context)) is not None:
        latency = latency.relative_to(scale)
    metrics |= latency_metrics(latency)
    metrics |= {"params": float(sum(p.numel() for p in plain.parameters())), "size_mb": stored_mb(model)}
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise CandidateError("nan", f"{', '.join(bad)} not finite as {form.name}")
    told = {name: value for name, value in latency.to_json().items() if name in TOLD} | {"dtype": form.weights}
    return {
        "metrics": metrics,
        "latency": told,
        "captions": captions,
        "cider": dict(zip(score.image_ids, score.per_image.tolist(), strict=True)),
    }


def run_in(model: Blip2ForConditionalGeneration, base: Base, form: InferenceConfig) -> Base:
    """The base as `model` is fed: its processor, with the model's own dtype and device."""
    dtype = next((name for name, kind in DTYPES.items() if kind == model.dtype), base.dtype)
    return replace(base, model=model, dtype=base.dtype if form.quantised else dtype)
