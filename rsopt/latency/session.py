"""A session of the latency protocol: candidate and reference timed in turn, alone on the device, until it is known well enough.

One preprocessed image in, caption ids out, batch 1, vision tower included, adapter merged, a fixed number of new tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.core.inference import MAX_NEW_TOKENS
from rsopt.latency.device import device_name, device_state
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Latency
from rsopt.latency.protocol import UNSTEADY, Protocol, first_layers, reference_architecture
from rsopt.latency.subject import Subject
from rsopt.latency.timing import alone_and_steady, ratio_interval, timed
from rsopt.model.base import Base
from rsopt.model.build import build

OTHER_EVERY = 4  # the decoder that is not the objective's is timed in every fourth round
NATURAL_IMAGES = 4
PART_RUNS = 5


def measure_latency(
    model: Blip2ForConditionalGeneration,
    base: Base,
    pixel_values: torch.Tensor,
    protocol: Protocol,
    device_lock: DeviceLock,
    seed: int = 0,
    beams: int | None = None,
) -> Latency:
    """Time a merged `model` on one image, pixel_values (1, 3, height, width), holding the quiet lock.

    `beams`: the model's own, where they are not the protocol's; the reference keeps those, so that ratios compare.
    """
    subject = Subject.of(model, base, pixel_values, beams or protocol.beams)
    return measure_subject(subject, base, pixel_values, protocol, device_lock, seed, beams)


@torch.inference_mode()
def measure_subject(
    subject: Subject,
    base: Base,
    pixel_values: torch.Tensor,
    protocol: Protocol,
    device_lock: DeviceLock,
    seed: int = 0,
    beams: int | None = None,
) -> Latency:
    """Time any captioner in turn with the reference of `base`, which gets pixel_values, holding the quiet lock."""
    half = build(base, first_layers(*reference_architecture(base.shape))).model
    reference = Subject.of(half, base, pixel_values, protocol.beams)
    best: Latency | None = None
    for voided in range(protocol.repeats + 1):
        found = _session(subject, reference, base.device, protocol, device_lock, seed, beams or protocol.beams)
        if best is None or found.drift < best.drift:
            best = found
        best = replace(best, voided=voided)
        if best.drift <= protocol.drift:
            return best
    assert best is not None
    reasons = [best.disturbed] if best.disturbed else []
    reasons.append(f"its reference drifted by {best.drift:.1%} in {protocol.repeats + 1} sessions")
    return replace(best, disturbed="; ".join(reasons))


def _session(
    subject: Subject,
    reference: Subject,
    device: torch.device,
    protocol: Protocol,
    device_lock: DeviceLock,
    seed: int,
    beams: int,
) -> Latency:
    def caption(which: Subject, decoder: str = protocol.decoder) -> float:
        n = protocol.new_tokens
        milliseconds, ids = timed(lambda: which.caption(decoder, n, n), device)
        assert ids.shape[1] == n, f"{ids.shape[1]} new tokens instead of {n}"
        return milliseconds

    others = [name for name in subject.decoders if name != protocol.decoder]
    other_times: dict[str, list[float]] = {name: [] for name in others}
    with alone_and_steady(device_lock, device) as disturbed:
        for _ in range(protocol.warmups):
            caption(reference), caption(subject)
            for name in others:
                caption(subject, name)
        before, begin = device_state(device), time.perf_counter()
        pairs: list[tuple[float, float]] = []
        while len(pairs) < protocol.most_runs:
            pairs.append((caption(reference), caption(subject)))
            if len(pairs) % OTHER_EVERY == 0:
                for name in others:
                    other_times[name].append(caption(subject, name))
            if len(pairs) >= protocol.least_runs and len(pairs) % OTHER_EVERY == 0:
                low, high = ratio_interval(np.array(pairs), seed)
                if high - low <= protocol.width * low or time.perf_counter() - begin > protocol.seconds:
                    break
        after = device_state(device)
        times = np.array(pairs)  # (runs, 2): reference, candidate
        reference_ms, raw_ms = (float(value) for value in np.median(times, axis=0))
        parts = _parts(subject, device, protocol, raw_ms)
    low, high = ratio_interval(times, seed)
    if disturbed is None and high - low > UNSTEADY * protocol.width * low:
        disturbed = f"its interval is {(high - low) / low:.0%} wide"
    half = len(times) // 2
    return Latency(
        latency_ms=raw_ms,
        p90_ms=float(np.percentile(times[:, 1], 90)),
        interval_ms=(low * reference_ms, high * reference_ms),
        runs=len(times),
        new_tokens=protocol.new_tokens,
        beams=beams,
        parts_ms=parts,
        device=device_name(device),
        decoder=protocol.decoder,
        raw_ms=raw_ms,
        ratio=raw_ms / reference_ms,
        reference_ms=reference_ms,
        drift=abs(float(np.median(times[half:, 0]) / np.median(times[:half, 0])) - 1),
        disturbed=disturbed,
        other_decoders={
            name: {"raw_ms": float(np.median(t)), "p90_ms": float(np.percentile(t, 90)), "runs": float(len(t))}
            for name, t in other_times.items()
            if t
        },
        state={"before": before, "after": after},
    )


def _parts(subject: Subject, device: torch.device, protocol: Protocol, whole_ms: float) -> dict[str, float]:
    """Where the time goes: vision, Q-Former with projection, prefill with the first token, and each further token.

    The parts are timed on their own; what a token takes is what is left, so that vision + qformer + prefill +
    (new_tokens - 1) x per_token is the whole.
    """
    stages = dict(zip(("vision", "qformer", "prefill"), subject.stages(protocol.decoder), strict=True))
    found: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(max(PART_RUNS, protocol.least_runs // 10)):
        given: Any = subject.pixel_values
        for name, stage in stages.items():
            spent, given = timed(partial(stage, given), device)
            found[name].append(spent)
    parts = {name: float(np.median(values)) for name, values in found.items()}
    return parts | {"per_token": (whole_ms - sum(parts.values())) / (protocol.new_tokens - 1)}


def natural_latency(
    model: Blip2ForConditionalGeneration,
    base: Base,
    images: Sequence[torch.Tensor],
    protocol: Protocol,
    device_lock: DeviceLock,
    runs: int = 1,
) -> tuple[float, float]:
    """Mean milliseconds and mean new tokens of the model's own captions of `images`, each (1, 3, height, width).

    Each image's time is its median over `runs`. A second figure and never an objective: it rewards saying less.
    """
    return natural_of(
        [Subject.of(model, base, i, protocol.beams) for i in images], base.device, protocol, device_lock, runs
    )


@torch.inference_mode()
def natural_of(
    subjects: Sequence[Subject], device: torch.device, protocol: Protocol, device_lock: DeviceLock, runs: int = 1
) -> tuple[float, float]:
    """The same of any captioner, once before each image."""
    times, lengths = [], []
    with alone_and_steady(device_lock, device):
        for index, subject in enumerate(subjects):
            taken = []
            for _ in range(runs + (index == 0)):  # the first warms up
                spent, ids = timed(partial(subject.caption, protocol.decoder, 0, MAX_NEW_TOKENS), device)
                taken.append(spent)
            times.append(float(np.median(taken[-runs:])))
            lengths.append(ids.shape[1])
    return float(np.mean(times)), float(np.mean(lengths))
