"""Throughput: images captioned a second at the fastest batch size that fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.common import json_lines
from rsopt.common.out_of_memory import is_out_of_memory, release
from rsopt.core.inference import Generation
from rsopt.core.variant import Architecture
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import entry_key, session_lock, stored
from rsopt.latency.protocol import Protocol
from rsopt.latency.subject import caption_ids
from rsopt.latency.timing import exclusive_device, timed
from rsopt.model.base import Base

THROUGHPUT_FILE = "throughput.jsonl"  # in a study's folder: one architecture on one device a line
LARGEST = {"cpu": 16, "cuda": 512}  # images at once
GROWTH = {"cpu": 4, "cuda": 2}  # factor between batch sizes; on a CPU each is slow, and neighbours differ little
ROUNDS = 3  # of each batch size, after one that warms up; the median counts
WORSE = 0.98  # share of the best so far: a batch size slower than this is the last
SECONDS = {"cpu": 20.0, "cuda": 60.0}  # after which no larger batch is tried


@dataclass(frozen=True, slots=True)
class Throughput:
    """`captions_per_s` at `batch` images at once; `tried` maps each batch size to its speed."""

    captions_per_s: float
    batch: int
    tried: Mapping[str, float]
    disturbed: bool

    def metrics(self) -> dict[str, float]:
        """Returns the metrics that a trial reports."""
        return {"captions_per_s": self.captions_per_s, "captions_batch": float(self.batch)}


@torch.inference_mode()
def measure_throughput(
    model: Blip2ForConditionalGeneration, base: Base, tile: torch.Tensor, protocol: Protocol, device_lock: DeviceLock
) -> Throughput:
    """Time a merged `model` on batches of a preprocessed tile, alone on the device.

    Batches grow until they are slower, do not fit, or time is up.

    Args:
        model: The merged model.
        base: Its base.
        tile: The preprocessed image, (1, 3, height, width).
        protocol: Gives decoder, beams and number of new tokens.
        device_lock: Held exclusively.
    """
    tried: dict[str, float] = {}
    begin, count = time.perf_counter(), 1
    with exclusive_device(device_lock, base.device) as disturbed:
        while count <= LARGEST[base.device.type]:
            try:
                speed = _speed(model, base, tile.expand(count, -1, -1, -1), protocol)
            except (RuntimeError, MemoryError) as error:
                if count == 1 or not is_out_of_memory(error):
                    raise
                break  # outside the handler, where the tensors of the failed attempt are freed
            tried[str(count)] = speed
            if speed < WORSE * max(tried.values()) or time.perf_counter() - begin > SECONDS[base.device.type]:
                break
            count *= GROWTH[base.device.type]
    release()
    batch = max(tried, key=lambda size: tried[size])
    return Throughput(tried[batch], int(batch), tried, disturbed is not None)


def known_throughput(
    folder: Path, context: Mapping[str, Any], architecture: Architecture, measure: Callable[[], Throughput]
) -> Throughput:
    """Returns this architecture's throughput from the study's file, else measures it and records it there."""
    path, key = folder / THROUGHPUT_FILE, entry_key(context, architecture)
    with session_lock(path, key):
        for entry in json_lines.read(path):
            if entry["key"] == key:
                return Throughput(**entry["throughput"])
        measured = measure()
        if not measured.disturbed:
            depths = stored(architecture)["architecture"]
            entry = {"key": key, "architecture": depths, "throughput": asdict(measured)}
            json_lines.append(path, entry)
        return measured


def _speed(model: Blip2ForConditionalGeneration, base: Base, tiles: torch.Tensor, protocol: Protocol) -> float:
    generation, times = Generation.of_length(protocol.new_tokens, protocol.beams), []
    for _ in range(ROUNDS + 1):
        milliseconds, ids = timed(lambda: caption_ids(protocol.decoder, model, base, tiles, generation), base.device)
        expected = (len(tiles), protocol.new_tokens)
        assert ids.shape == expected, f"{tuple(ids.shape)} images and new tokens instead of {expected}"
        times.append(milliseconds)
    return 1e3 * len(tiles) / float(np.median(times[1:]))
