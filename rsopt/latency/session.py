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
from rsopt.latency.other_programs import OtherPrograms
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
    sessions: list[Latency] = []
    busy = False  # other programs run: they would still be there in a session that follows at once
    while len(sessions) <= protocol.repeats and not busy and not any(s.disturbed is None for s in sessions):
        latency, busy = session.run(device_lock)
        sessions.append(latency)
    best = min(sessions, key=lambda s: (s.disturbed is not None, s.width))
    return replace(best, voided=len(sessions) - 1)


@dataclass(frozen=True, slots=True)
class _Session:
    """Candidate and reference on one device under one protocol; each `run` times them anew."""

    subject: Subject
    reference: Subject
    device: torch.device
    protocol: Protocol
    seed: int

    def run(self, device_lock: DeviceLock) -> tuple[Latency, bool]:
        """Warm up, time in turn, time the parts. Also returns whether other programs disturbed it."""
        with exclusive_device(device_lock, self.device) as disturbed:
            self._warm_up()
            before = device_state(self.device)
            others = OtherPrograms(self.device)
            times, other_times = self._rounds(others)
            reasons = others.disturb(self.protocol)
            busy = bool(reasons)
            after = device_state(self.device)
            parts = _parts(self.subject, self.device, self.protocol, float(np.median(times[:, 1])))
        if disturbed:
            reasons.append(disturbed)
        return self._latency(times, other_times, parts, reasons, {"before": before, "after": after}), busy

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

    def _rounds(self, others: OtherPrograms) -> tuple[np.ndarray, dict[str, list[float]]]:
        """Milliseconds of reference and candidate, (runs, 2), and those of the candidate's other decoders by name.

        Ends early where `others` disturb it: more rounds would not help.
        """
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
                is_narrow, is_late = high - low <= protocol.width * low, time.perf_counter() - begin > protocol.seconds
                if is_narrow or is_late or others.disturb(protocol):
                    break
        return np.array(pairs), other_times

    def _latency(
        self,
        times: np.ndarray,
        other_times: Mapping[str, Sequence[float]],
        parts: dict[str, float],
        reasons: Sequence[str],
        state: dict[str, dict[str, float]],
    ) -> Latency:
        """The session's result. Arguments as `_rounds` and `_parts` give them, what disturbed it, and the device's states."""
        protocol, half = self.protocol, len(times) // 2
        reference_ms, raw_ms = (float(value) for value in np.median(times, axis=0))
        low, high = ratio_interval(times, self.seed)
        drift = abs(float(np.median(times[half:, 0]) / np.median(times[:half, 0])) - 1)
        reasons = list(reasons)
        if high - low > UNSTEADY * protocol.width * low:
            reasons.append(f"its interval is {(high - low) / low:.0%} wide")
        if drift > protocol.drift:
            reasons.append(f"its reference drifted by {drift:.1%}")
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
            drift=drift,
            disturbed="; ".join(reasons) or None,
            other_decoders={
                name: {"raw_ms": float(np.median(t)), "p90_ms": float(np.percentile(t, 90)), "runs": float(len(t))}
                for name, t in other_times.items()
                if t
            },
            state=state,
        )


def _parts(subject: Subject, device: torch.device, protocol: Protocol, whole_ms: float) -> dict[str, float]:
    """Milliseconds of the whole by part: the first three are timed on their own. See `parts_of`."""
    stages = dict(zip(("vision", "qformer", "prefill"), subject.stages(protocol.decoder), strict=True))
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(max(PART_RUNS, protocol.least_runs // 10)):
        value: Any = subject.pixel_values
        for name, stage in stages.items():
            milliseconds, value = timed(partial(stage, value), device)
            times[name].append(milliseconds)
    return parts_of({name: float(np.median(values)) for name, values in times.items()}, whole_ms, protocol.new_tokens)


def parts_of(stages: Mapping[str, float], whole_ms: float, new_tokens: int) -> dict[str, float]:
    """Returns milliseconds of vision, Q-Former with projection, prefill with the first token, and each further token.

    The time of a token is what `stages`, the first three, leave, so that all together are the whole. Stages that took longer
    than the whole when they were timed on their own are scaled to it.
    """
    scale = min(1.0, whole_ms / sum(stages.values()))
    parts = {name: scale * value for name, value in stages.items()}
    return parts | {"per_token": max(0.0, whole_ms - sum(parts.values())) / (new_tokens - 1)}


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
        for subject in subjects:
            run_times = []
            for _ in range(runs + 1):  # the first warms up the shapes of this length
                milliseconds, ids = timed(partial(subject.caption, protocol.decoder, 0, MAX_NEW_TOKENS), device)
                run_times.append(milliseconds)
            times.append(float(np.median(run_times[1:])))
            lengths.append(ids.shape[1])
    return float(np.mean(times)), float(np.mean(lengths))
