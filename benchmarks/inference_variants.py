"""What costs no training: latency, size and peak memory of a whole base by precision of its weights and by beams.

Run from the repository root on an idle machine:
    python -m benchmarks.forms [--base opt-2.7b|tiny|small] [--scratch DIR] [--write]

Weights are random but for tiny: time and size depend on shapes alone. Quantising writes the model to --scratch once for each
form. --write puts the table into docs/refit.md in place of an older one.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.bases import small_config
from benchmarks.report import machine, table, write_section
from rsopt.core.inference import Generation, InferenceConfig, default_inference_variants
from rsopt.core.variant import Variant
from rsopt.latency.device import quiet_name
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol
from rsopt.latency.session import measure_latency
from rsopt.latency.subject import caption_ids, random_image
from rsopt.model.base import Base, best_device, best_dtype, load_base
from rsopt.model.build import build, merged
from rsopt.model.configs import base_config
from rsopt.model.quantization import in_form, stored_mb
from rsopt.model.random_base import random_base

DOCS = Path(__file__).parents[1] / "docs" / "refit.md"
HEADINGS = ("form", "latency, ms", "95 % interval", "to the first", "weights, MB", "peak memory, MB")


def main() -> int:
    """Parse, measure, print, write."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--base", default="opt-2.7b", help="opt-2.7b, tiny or small (default: %(default)s)")
    made.add_argument("--new-tokens", type=int, default=12, metavar="N", help="always so many (default: %(default)s)")
    made.add_argument("--scratch", type=Path, default=Path("/tmp"), metavar="DIR", help="(default: %(default)s)")
    made.add_argument("--write", action="store_true", help="write the table into docs/refit.md")
    options = made.parse_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    base = named(options.base)
    rows = [
        measure(base, form, options.new_tokens, options.scratch)
        for form in [InferenceConfig(base.dtype), *default_inference_variants(base.dtype)]
    ]
    cells = [
        [
            row["form"],
            f"{row['latency_ms']:.1f}",
            f"{row['low_ms']:.1f} to {row['high_ms']:.1f}",
            f"{row['latency_ms'] / rows[0]['latency_ms']:.2f}",
            f"{row['size_mb']:,.1f}",
            f"{row['peak_mb']:,.1f}" if "peak_mb" in row else "-",
        ]
        for row in rows
    ]
    heading, body = f"Forms of a whole base ({options.base})", table(HEADINGS, cells)
    print(f"{heading}\n\n{body}\n")
    print(json.dumps({"base": options.base, "rows": rows}))
    if options.write:
        facts = {"command": f"`python -m benchmarks.forms --base {options.base}`", "machine": machine()}
        write_section(heading, facts, body, DOCS)
    return 0


def named(name: str) -> Base:
    """A base by name: tiny is loaded, others get random weights."""
    if name == "tiny":
        return load_base("tiny")
    device = best_device()
    config = small_config() if name == "small" else base_config(name)
    return random_base(name, config, device, best_dtype(device))


def measure(base: Base, form: InferenceConfig, new_tokens: int, scratch: Path) -> dict[str, Any]:
    """Latency of the base in a form by the search's protocol; on a GPU also the peak of its memory beside the base's own."""
    device = base.device
    model = in_form(merged(build(base, Variant.full(base.shape))), base, form, scratch)
    device_lock = DeviceLock(quiet_name(device))
    protocol = Protocol.for_device(device, new_tokens)
    found = measure_latency(model, base, random_image(base), protocol, device_lock, beams=form.beams)
    row: dict[str, Any] = {
        "form": form.name,
        "latency_ms": found.latency_ms,
        "low_ms": found.interval_ms[0],
        "high_ms": found.interval_ms[1],
        "drift": found.drift,
        "disturbed": found.disturbed,
        "size_mb": stored_mb(model),
    }
    if device.type == "cuda":
        row["peak_mb"] = _peak_mb(model, base, form, new_tokens)
    device_lock.close()
    del model
    gc.collect()
    return row


@torch.inference_mode()
def _peak_mb(model: Any, base: Base, form: InferenceConfig, new_tokens: int) -> float:
    """Megabytes that one caption allocates at its peak beyond what lies there, plus the model's own weights."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    caption_ids("generate", model, base, random_image(base), Generation.of_length(new_tokens, form.beams))
    return stored_mb(model) + (torch.cuda.max_memory_allocated() - before) / 1e6


if __name__ == "__main__":
    sys.exit(main())
