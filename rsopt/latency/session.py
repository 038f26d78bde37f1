"""A session of the latency protocol: times candidate and reference in turn, alone on the device.

From a preprocessed image to caption ids, batch 1, vision tower included, adapter merged, a fixed number of new tokens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from rsopt.latency.timing import exclusive_device, ratio_interval, timed
from rsopt.model.base import Base
from rsopt.model.build import build

OTHER_EVERY = 4  # the decoder whose time does not count is timed in every fourth round
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
    """Time a merged model on one image, alone on the device.

    Args:
        model: The merged model.
        base: The base it was built over, which also gives the reference model.
        pixel_values: The preprocessed image, (1, 3, height, width).
        protocol: What is timed and how long.
        device_lock: Held exclusively during the session.
        seed: Of the bootstrap intervals.
        beams: Beams of `model` where they are not the protocol's; the reference keeps those, so that ratios compare.
    """
    subject = Subject.of(model, base, pixel_values, beams or protocol.beams)
    return measure_subject(subject, base, pixel_values, protocol, device_lock, seed)


@torch.inference_mode()
def measure_subject(
    subject: Subject, base: Base, pixel_values: torch.Tensor, protocol: Protocol, device_lock: DeviceLock, seed: int = 0
) -> Latency:
    """Time any captioner in turn with the reference of `base`, which is fed `pixel_values`. Arguments as of measure_latency."""
    half = build(base, first_layers(*reference_architecture(base.shape))).model
    session = _Session(subject, Subject.of(half, base, pixel_values, protocol.beams), base.device, protocol, seed)
    best: Latency | None = None
    for voided in range(protocol.repeats + 1):
        latency = session.run(device_lock)
        if best is None or latency.drift < best.drift:
            best = latency
        best = replace(best, voided=voided)
        if best.drift <= protocol.drift:
            return best
    assert best is not None
    reasons = [best.disturbed] if best.disturbed else []
    reasons.append(f"its reference drifted by {best.drift:.1%} in {protocol.repeats + 1} sessions")
    return replace(best, disturbed="; ".join(reasons))


@dataclass(frozen=True, slots=True)
class _Session:
    """Candidate and reference on one device under one protocol; each `run` times them anew."""

    subject: Subject
    reference: Subject
    device: torch.device
    protocol: Protocol
    seed: int

    def run(self, device_lock: DeviceLock) -> Latency:
        """Warm up, time in turn, time the parts."""
        with exclusive_device(device_lock, self.device) as disturbed:
            self._warm_up()
            before = device_state(self.device)
            times, other_times = self._rounds()
            after = device_state(self.device)
            parts = _parts(self.subject, self.device, self.protocol, float(np.median(times[:, 1])))
        return self._latency(times, other_times, parts, disturbed, {"before": before, "after": after})

    @property
    def _other_decoders(self) -> list[str]:
        return [name for name in self.subject.decoders if name != self.protocol.decoder]

    def _caption_ms(self, subject: Subject, decoder: str | None = None) -> float:
        n = self.protocol.new_tokens
        milliseconds, ids = timed(lambda: subject.caption(decoder or self.protocol.decoder, n, n), self.device)
        assert ids.shape[1] == n, f"{ids.shape[1]} new tokens instead of {n}"
        return milliseconds

    def _warm_up(self) -> None:
        for _ in range(self.protocol.warmups):
            self._caption_ms(self.reference), self._caption_ms(self.subject)
            for name in self._other_decoders:
                self._caption_ms(self.subject, name)

    def _rounds(self) -> tuple[np.ndarray, dict[str, list[float]]]:
        """Milliseconds of reference and candidate, (runs, 2), and those of the candidate's other decoders by name."""
        protocol, begin = self.protocol, time.perf_counter()
        pairs: list[tuple[float, float]] = []
        other_times: dict[str, list[float]] = {name: [] for name in self._other_decoders}
        while len(pairs) < protocol.most_runs:
            pairs.append((self._caption_ms(self.reference), self._caption_ms(self.subject)))
            if len(pairs) % OTHER_EVERY == 0:
                for name, values in other_times.items():
                    values.append(self._caption_ms(self.subject, name))
            if len(pairs) >= protocol.least_runs and len(pairs) % OTHER_EVERY == 0:
                low, high = ratio_interval(np.array(pairs), self.seed)
                if high - low <= protocol.width * low or time.perf_counter() - begin > protocol.seconds:
                    break
        return np.array(pairs), other_times

    def _latency(
        self,
        times: np.ndarray,
        other_times: Mapping[str, Sequence[float]],
        parts: dict[str, float],
        disturbed: str | None,
        state: dict[str, dict[str, float]],
    ) -> Latency:
        """The session's result. Arguments as `_rounds` and `_parts` give them, why it was disturbed, and the device's states."""
        protocol, half = self.protocol, len(times) // 2
        reference_ms, raw_ms = (float(value) for value in np.median(times, axis=0))
        low, high = ratio_interval(times, self.seed)
        if disturbed is None and high - low > UNSTEADY * protocol.width * low:
            disturbed = f"its interval is {(high - low) / low:.0%} wide"
        return Latency(
            latency_ms=raw_ms,
            p90_ms=float(np.percentile(times[:, 1], 90)),
            interval_ms=(low * reference_ms, high * reference_ms),
            runs=len(times),
            new_tokens=protocol.new_tokens,
            beams=self.subject.beams,
            parts_ms=parts,
            device=device_name(self.device),
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
            state=state,
        )


def _parts(subject: Subject, device: torch.device, protocol: Protocol, whole_ms: float) -> dict[str, float]:
    """Milliseconds of vision, Q-Former with projection, prefill with the first token, and each further token.

    The first three are timed on their own; the time of a token is what remains, so that vision + qformer + prefill +
    (new_tokens - 1) x per_token is the whole.
    """
    stages = dict(zip(("vision", "qformer", "prefill"), subject.stages(protocol.decoder), strict=True))
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(max(PART_RUNS, protocol.least_runs // 10)):
        value: Any = subject.pixel_values
        for name, stage in stages.items():
            milliseconds, value = timed(partial(stage, value), device)
            times[name].append(milliseconds)
    parts = {name: float(np.median(values)) for name, values in times.items()}
    return parts | {"per_token": (whole_ms - sum(parts.values())) / (protocol.new_tokens - 1)}


def natural_latency(
    model: Blip2ForConditionalGeneration,
    base: Base,
    images: Sequence[torch.Tensor],
    protocol: Protocol,
    device_lock: DeviceLock,
    runs: int = 1,
) -> tuple[float, float]:
    """Returns mean milliseconds and mean new tokens of captions that end by themselves. Not an objective: short ones win.

    Args:
        model: The merged model.
        base: Its base.
        images: Preprocessed images, each (1, 3, height, width).
        protocol: Its decoder and beams are used.
        device_lock: Held exclusively.
        runs: Timed runs of each image, whose median counts.
    """
    return natural_latency_of(
        [Subject.of(model, base, i, protocol.beams) for i in images], base.device, protocol, device_lock, runs
    )


@torch.inference_mode()
def natural_latency_of(
    subjects: Sequence[Subject], device: torch.device, protocol: Protocol, device_lock: DeviceLock, runs: int = 1
) -> tuple[float, float]:
    """As natural_latency, for subjects of one captioner, each with its image."""
    times, lengths = [], []
    with exclusive_device(device_lock, device):
        for index, subject in enumerate(subjects):
            run_times = []
            for _ in range(runs + (index == 0)):  # the first warms up
                milliseconds, ids = timed(partial(subject.caption, protocol.decoder, 0, MAX_NEW_TOKENS), device)
                run_times.append(milliseconds)
            times.append(float(np.median(run_times[-runs:])))
            lengths.append(ids.shape[1])
    return float(np.mean(times)), float(np.mean(lengths))
