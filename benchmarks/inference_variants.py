"""Latency, size and peak memory of an unpruned base by precision of its weights and by beams.

Run from the repository root on an idle machine:
    python -m benchmarks.inference_variants [--base opt-2.7b|tiny|small] [--scratch DIR] [--write]

Weights are random, except tiny's: time and size depend on shapes alone. Quantising writes the model to --scratch once for
each variant. --write puts the table into docs/refit.md and replaces an earlier one.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.bases import config_of
from benchmarks.report import DOCS, measured_by, table, with_interval, write_section
from rsopt.core.inference import Generation, InferenceConfig, default_inference_variants
from rsopt.core.variant import Variant
from rsopt.latency.device import lock_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol
from rsopt.latency.session import measure_latency
from rsopt.latency.subject import caption_ids, random_image
from rsopt.model.base import Base, best_device, best_dtype, load_base
from rsopt.model.build import build, merged
from rsopt.model.quantization import convert_model, stored_mb
from rsopt.model.random_base import random_base

HEAD = ("variant", "latency, ms", "ratio to the first", "weights, MB", "peak memory, MB")


def main() -> int:
    """Measure, print and write."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--base", default="opt-2.7b", help="opt-2.7b, tiny or small (default: %(default)s)")
    made.add_argument("--new-tokens", type=int, default=12, metavar="N", help="of a caption (default: %(default)s)")
    made.add_argument(
        "--scratch", type=Path, default=Path("/tmp"), metavar="DIR", help="for quantised models (default: %(default)s)"
    )
    made.add_argument("--write", action="store_true", help="write the table into docs/refit.md")
    options = made.parse_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    base = load_or_make(options.base)
    rows = [
        measure(base, variant, options.new_tokens, options.scratch)
        for variant in [InferenceConfig(base.dtype), *default_inference_variants(base.dtype)]
    ]
    cells = [
        [
            row["form"],
            with_interval(row["latency_ms"], row["low_ms"], row["high_ms"]),
            f"{row['latency_ms'] / rows[0]['latency_ms']:.2f}",
            f"{row['size_mb']:,.1f}",
            f"{row['peak_mb']:,.1f}" if "peak_mb" in row else "-",
        ]
        for row in rows
    ]
    heading, body = f"Inference variants of an unpruned base ({options.base})", table(HEAD, cells)
    print(f"{heading}\n\n{body}\n")
    print(json.dumps({"base": options.base, "rows": rows}))
    if options.write:
        facts = [measured_by(f"python -m benchmarks.inference_variants --base {options.base}")]
        write_section(heading, facts, body, DOCS / "refit.md")
    return 0


def load_or_make(name: str) -> Base:
    """A base by name: tiny is loaded, others get random weights."""
    if name == "tiny":
        return load_base("tiny")
    device = best_device()
    return random_base(name, config_of(name), device, best_dtype(device))


def measure(base: Base, variant: InferenceConfig, new_tokens: int, scratch: Path) -> dict[str, Any]:
    """Measure the base's latency in one inference variant by the search's protocol; on a GPU also its peak memory."""
    device = base.device
    model = convert_model(merged(build(base, Variant.full(base.shape))), base, variant, scratch)
    device_lock = DeviceLock(lock_name(device))
    protocol = Protocol.for_device(device, new_tokens)
    latency = measure_latency(model, base, random_image(base), protocol, device_lock, beams=variant.beams)
    row: dict[str, Any] = {
        "form": variant.name,
        "latency_ms": latency.latency_ms,
        "low_ms": latency.interval_ms[0],
        "high_ms": latency.interval_ms[1],
        "drift": latency.drift,
        "disturbed": latency.disturbed,
        "size_mb": stored_mb(model),
    }
    if device.type == "cuda":
        row["peak_mb"] = _peak_mb(model, base, variant, new_tokens)
    device_lock.close()
    del model
    gc.collect()
    return row


@torch.inference_mode()
def _peak_mb(model: Any, base: Base, variant: InferenceConfig, new_tokens: int) -> float:
    """Peak megabytes that one caption allocates, plus the model's weights."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    caption_ids("generate", model, base, random_image(base), Generation.of_length(new_tokens, variant.beams))
    return stored_mb(model) + (torch.cuda.max_memory_allocated() - before) / 1e6


if __name__ == "__main__":
    sys.exit(main())
