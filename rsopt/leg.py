"""run_leg: the seam to the model. Build, continue from the last rung, train to the next, measure, write down, report."""

from __future__ import annotations

import json
import math
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rsopt.build import Built, build, merged
from rsopt.caption import caption_features, check_garbage
from rsopt.features import pixels
from rsopt.latency import Ledger, Protocol, ledger_key, measure_latency
from rsopt.objectives import Measurement
from rsopt.quiet import Quiet
from rsopt.recipe import Leg
from rsopt.resident import Resident, pad_id
from rsopt.rung import CAPTIONS, MEASUREMENT, STATE, read_measurement, rung_folder
from rsopt.train import CandidateError, Trainer, TrainResult, validation_loss

RUNG_IMAGES = 256  # a rung before the last is judged by greedy captions of at most so many validation images


def run_leg(leg: Leg, resident: Resident, folder: Path, ledger: Ledger, quiet: Quiet) -> Measurement:
    """Train `leg` and measure it at its rung. Raises CandidateError for faults of the candidate.

    The measurement stands beside the checkpoint, put there by one rename: a leg is either wholly there or not at all, and
    one that is there is not trained again.
    """
    if (found := read_measurement(folder, leg.number, leg.stop)) is not None:
        return found
    seconds: dict[str, float] = {}
    base, variant = resident.base, leg.candidate.variant
    with quiet.working():
        with _timed(seconds, "build"):
            built = build(base, variant, leg.seed)
        result: TrainResult | None = None
        trainer: Trainer | None = None
        if variant.lora is not None:
            with _timed(seconds, "features"):
                train = resident.training_set("train", variant.vision_layers)
            trainer = Trainer(built, train, leg.candidate.recipe, leg.seed, pad_id(base))
            if leg.start > 0:
                trainer.load(rung_folder(folder, leg.number, leg.start) / STATE)
            with _timed(seconds, "train"):
                result = trainer.run(leg.start, leg.stop, quiet.give_way)
        metrics, captions = _measure_quality(leg, built, resident, seconds, quiet)
    if leg.last:
        metrics |= _measure_cost(built, resident, ledger, quiet, seconds)
    if result is not None:
        metrics["train_loss"] = result.loss
        seconds["trained"] = seconds["train"] + _trained_before(folder, leg)
        metrics["train_s"] = seconds["trained"]
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        raise CandidateError("nan", f"{', '.join(bad)} not finite")
    measurement = Measurement(leg.stop, metrics, {k: round(v, 4) for k, v in seconds.items()})
    _write(rung_folder(folder, leg.number, leg.stop), measurement, captions, trainer)
    return measurement


def _measure_quality(
    leg: Leg, built: Built, resident: Resident, seconds: dict[str, float], quiet: Quiet
) -> tuple[dict[str, float], dict[str, object]]:
    """Captions and scores on the validation split: full protocol at the last rung, greedy on a part of it before."""
    base, samples = resident.base, resident.data.split("val")
    features = resident.features("val", leg.candidate.variant.vision_layers)
    step = 1 if leg.last else math.ceil(len(samples) / RUNG_IMAGES)
    chosen = samples[::step]
    with _timed(seconds, "caption"):
        captions = caption_features(
            merged(built), base, features[::step], beams=5 if leg.last else 1, between_batches=quiet.give_way
        )
    answers = {sample.image_id: caption for sample, caption in zip(chosen, captions, strict=True)}
    references = [text for sample in chosen for text in sample.references]
    with _timed(seconds, "score"):
        scorer = resident.scorer("val")
        score = scorer.cider_of_part(answers)
        low, high = score.interval()
        metrics = {"cider": score.corpus, "cider_low": low, "cider_high": high}
        if leg.last:
            metrics |= scorer.all(answers)
    if built.variant.lora is not None:  # the untuned base may say what it likes: it is a reference, not a candidate
        check_garbage(captions, references)
    if leg.last:
        with _timed(seconds, "val_loss"):
            val = resident.training_set("val", leg.candidate.variant.vision_layers)
            metrics["val_loss"] = validation_loss(built.model, val, pad_id(base))
    return metrics, {"captions": answers, "cider": dict(zip(score.image_ids, score.per_image.tolist(), strict=True))}


def _measure_cost(
    built: Built, resident: Resident, ledger: Ledger, quiet: Quiet, seconds: dict[str, float]
) -> dict[str, float]:
    """Latency (from the ledger, measured if new), parameters, compute and size of the merged model."""
    base, variant = resident.base, built.variant
    model = merged(built)
    protocol = Protocol.for_device(base.device, resident.reference_tokens)
    image = pixels(base, resident.data.split("val")[:1])
    with _timed(seconds, "latency"):
        latency, _ = ledger.get_or_measure(
            ledger_key(variant.architecture(base.dtype), base, protocol),
            lambda: measure_latency(model, base, image, protocol, quiet),
        )
    cost = resident.costs.cost(variant)
    return {
        "latency_ms": latency.latency_ms,
        "latency_p90_ms": latency.p90_ms,
        "latency_low_ms": latency.interval_ms[0],
        "latency_high_ms": latency.interval_ms[1],
        "params": float(sum(p.numel() for p in model.parameters())),
        "trainable": float(sum(p.numel() for p in built.trainable().values())),
        "gmacs": cost.gmacs["total"],
        "size_mb": sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6,
    }


def _trained_before(folder: Path, leg: Leg) -> float:
    if leg.start == 0:
        return 0.0
    before = read_measurement(folder, leg.number, leg.start)
    return before.seconds["trained"] if before else 0.0


def _write(target: Path, measurement: Measurement, captions: dict[str, object], trainer: Trainer | None) -> None:
    """Write the rung's files aside and rename the folder; whoever comes second with the same leg leaves the first alone."""
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        if trainer is not None:
            trainer.save(aside / STATE)
        (aside / CAPTIONS).write_text(json.dumps(captions, indent=1))
        (aside / MEASUREMENT).write_text(json.dumps(measurement.to_json(), indent=1))
        if not target.exists():
            aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin
