"""Compares the latency of two models, timed in turn on the same image."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from rsopt.core.inference import Generation
from rsopt.latency.device import device_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol
from rsopt.latency.subject import caption_ids
from rsopt.latency.timing import exclusive_device, ratio_interval, timed
from rsopt.model.base import Base


@torch.inference_mode()
def compare(
    one: Base, other: Base, pixel_values: torch.Tensor, protocol: Protocol, device_lock: DeviceLock, seed: int = 0
) -> dict[str, Any]:
    """Returns median times of both, the ratio of the second to the first with its 95 % interval, and whether they differ.

    Args:
        one: The first model.
        other: The second model.
        pixel_values: The preprocessed image, (1, 3, height, width).
        protocol: What is timed and how long.
        device_lock: Held exclusively.
        seed: Of the bootstrap interval.
    """
    generation = Generation.of_length(protocol.new_tokens, protocol.beams)

    def caption(base: Base) -> float:
        return timed(lambda: caption_ids(protocol.decoder, base.model, base, pixel_values, generation), base.device)[0]

    with exclusive_device(device_lock, one.device) as disturbed:
        for _ in range(protocol.warmups):
            caption(one), caption(other)
        begin, pairs = time.perf_counter(), list[tuple[float, float]]()
        while len(pairs) < protocol.most_runs:
            pairs.append((caption(one), caption(other)))
            if len(pairs) >= protocol.least_runs and time.perf_counter() - begin > protocol.seconds:
                break
    times = np.array(pairs)
    low, high = ratio_interval(times, seed)
    first, second = (float(value) for value in np.median(times, axis=0))
    return {
        "latency_ms": [first, second],
        "ratio": second / first,
        "interval": [low, high],
        "different": not low <= 1 <= high,
        "runs": len(pairs),
        "new_tokens": protocol.new_tokens,
        "beams": protocol.beams,
        "device": device_name(one.device),
        "decoder": protocol.decoder,
        "disturbed": disturbed,
    }
