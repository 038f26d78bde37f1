"""Latency: one image in, caption ids out, batch 1, adapter merged, a fixed number of new tokens, nothing else on the device."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from transformers import Blip2ForConditionalGeneration

from rsopt.base import Base
from rsopt.caption import BEAMS
from rsopt.quiet import Quiet
from rsopt.variant import Architecture, digest


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is timed. `new_tokens` is fixed for every candidate: latency at natural length would measure verbosity."""

    new_tokens: int
    beams: int = BEAMS
    warmups: int = 20
    runs: int = 200
    decoder: str = "transformers.generate"

    @classmethod
    def for_device(cls, device: torch.device, new_tokens: int) -> Protocol:
        """200 runs after 20 warm-ups on a GPU, 20 after 3 on a CPU, where one run is long and the default search is short."""
        return cls(new_tokens) if device.type == "cuda" else cls(new_tokens, warmups=3, runs=20)


@dataclass(frozen=True, slots=True)
class Latency:
    """Median, 90th percentile and a 95 % bootstrap interval of the median, in milliseconds."""

    latency_ms: float
    p90_ms: float
    interval_ms: tuple[float, float]
    runs: int
    new_tokens: int
    beams: int
    device: str
    decoder: str

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {**asdict(self), "interval_ms": list(self.interval_ms)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Latency:
        """Inverse of `to_json`."""
        return cls(**{**data, "interval_ms": tuple(data["interval_ms"])})


class Ledger:
    """A file of latencies, a JSON object a line, by architecture, base, device, protocol and versions.

    Shared by trials and studies: an architecture is measured once. The first entry of a key counts, so that a search that
    runs again with a recorded ledger is the same search.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: dict[str, Any]) -> Latency | None:
        """The entry of exactly this key, or None."""
        wanted = digest(key)
        if not self.path.exists():
            return None
        for line in self.path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # torn by a crash in the middle of a write
            entry = json.loads(line)
            if digest(entry["key"]) == wanted:
                return Latency.from_json(entry["latency"])
        return None

    def get_or_measure(self, key: dict[str, Any], measure: Callable[[], Latency]) -> tuple[Latency, bool]:
        """The recorded entry, or a new one written down; with whether it was measured now. One measures, the rest wait."""
        if found := self.get(key):
            return found, False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            if found := self.get(key):
                return found, False
            latency = measure()
            self._append(json.dumps({"key": key, "latency": latency.to_json()}, sort_keys=True))
            return latency, True

    def _append(self, line: str) -> None:
        old = self.path.read_bytes() if self.path.exists() else b""
        if old and not old.endswith(b"\n"):  # cut a torn line off, or this one would be glued to it
            self.path.write_bytes(old[: old.rfind(b"\n") + 1])
        with self.path.open("a") as out:
            out.write(line + "\n")


def ledger_key(architecture: Architecture, base: Base, protocol: Protocol) -> dict[str, Any]:
    """Everything a latency depends on; an entry of another device, version or protocol never serves."""
    config = base.model.config
    widths = [config.vision_config.hidden_size, config.qformer_config.hidden_size, config.text_config.hidden_size]
    return {
        "architecture": asdict(architecture),
        "widths": [*widths, config.text_config.ffn_dim, config.text_config.vocab_size, config.num_query_tokens],
        "image": [config.vision_config.image_size, config.vision_config.patch_size],
        "device": device_name(base.device),
        "threads": torch.get_num_threads() if base.device.type == "cpu" else 0,
        "protocol": asdict(protocol),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


@torch.inference_mode()
def measure_latency(
    model: Blip2ForConditionalGeneration,
    base: Base,
    pixel_values: torch.Tensor,
    protocol: Protocol,
    quiet: Quiet,
    seed: int = 0,
) -> Latency:
    """Time `model` on one image, pixel_values (1, 3, height, width), holding the quiet lock. `model` must be merged."""

    def caption() -> None:
        ids = model.generate(
            pixel_values,
            num_beams=protocol.beams,
            do_sample=False,
            min_new_tokens=protocol.new_tokens,
            max_new_tokens=protocol.new_tokens,
            eos_token_id=base.end_id,
            pad_token_id=base.tokenizer.pad_token_id,
        )
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        assert ids.shape[1] >= protocol.new_tokens

    with quiet.measuring():
        for _ in range(protocol.warmups):
            caption()
        times = np.empty(protocol.runs)
        for run in range(protocol.runs):
            begin = time.perf_counter()
            caption()
            times[run] = 1e3 * (time.perf_counter() - begin)
    samples = np.median(np.random.default_rng(seed).choice(times, (1000, len(times))), axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Latency(
        latency_ms=float(np.median(times)),
        p90_ms=float(np.percentile(times, 90)),
        interval_ms=(float(low), float(high)),
        runs=protocol.runs,
        new_tokens=protocol.new_tokens,
        beams=protocol.beams,
        device=device_name(base.device),
        decoder=protocol.decoder,
    )


@cache
def device_name(device: torch.device) -> str:
    """The device's model, as its vendor names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
