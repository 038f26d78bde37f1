"""Fills a ledger with latencies of a base's architectures on this device (`python -m rsopt.latency --ledger`)."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsopt.core.variant import Architecture
from rsopt.errors import UserError
from rsopt.latency.device import lock_name
from rsopt.latency.ledger import read_ledger

if TYPE_CHECKING:
    from rsopt.model.base import Base
from rsopt.latency.setup import load_model, resolve_device


def fill_ledger(options: argparse.Namespace) -> dict[str, Any]:
    """Measures the architectures that the options name and returns a summary for `--json`."""
    from rsopt.latency.additive_model import LatencyModel, design
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.latency.protocol import Protocol, first_layers, latency_context, variant_of_depths
    from rsopt.latency.session import measure_latency
    from rsopt.latency.subject import random_image
    from rsopt.model.base import best_dtype
    from rsopt.model.build import build
    from rsopt.model.configs import base_config
    from rsopt.model.random_base import random_base

    if options.random_weights:
        device = resolve_device(options)
        base = random_base(options.base, base_config(options.base), device, options.dtype or best_dtype(device))
    else:
        base = load_model(options.base, options)
    # A search looks up its own protocol exactly, so entries of any other, but for the length, would never be used.
    protocol = Protocol.for_device(base.device, options.new_tokens, options.decoder)
    if options.runs:
        raise UserError("--runs does not go with --ledger: a search only takes entries of its own protocol")
    ledger, device_lock = Ledger(Path(options.ledger)), DeviceLock(lock_name(base.device), purpose="rsopt.latency")
    context, rows = latency_context(base, protocol), []
    if options.like:
        variants = [variant_of_depths(architecture, base.shape) for architecture in _architectures(Path(options.like), base)]
    else:
        variants = [first_layers(*depths) for depths in design(base.shape)]
    for variant in variants:
        depths = [len(layers) for layers in (variant.vision_layers, variant.qformer_layers, variant.llm_layers)]
        built = build(base, variant)
        latency, new = ledger.get_or_measure(
            context,
            variant.architecture(base.dtype, base.shape),
            lambda model=built.model: measure_latency(model, base, random_image(base), protocol, device_lock),  # type: ignore[misc]
        )
        rows.append({"layers": depths, "latency_ms": latency.latency_ms, "measured": new, "disturbed": latency.disturbed})
        why = f" (not recorded: {latency.disturbed})" if latency.disturbed else ""
        sys.stderr.write(f"V{depths[0]} Q{depths[1]} L{depths[2]}: {latency.latency_ms:.2f} ms{why}\n")
    device_lock.close()
    if missing := sum(row["disturbed"] is not None for row in rows):
        sys.stderr.write(f"{missing} of {len(rows)} were disturbed: run this again on a quiet machine, it measures those alone\n")
    entries = ledger.entries(context)
    error = LatencyModel.fit(entries, base.shape.cross_attention_frequency).error if entries else math.inf
    return {
        "ledger": options.ledger,
        "device": context["device"],
        "dtype": base.dtype,
        "new_tokens": protocol.new_tokens,
        "decoder": protocol.decoder,
        "architectures": rows,
        "model_error": error if math.isfinite(error) else None,
    }


def caption_tokens(path: str) -> int:
    """Returns the new tokens of a ledger's sessions. Raises UserError for a file that is no ledger or has several lengths."""
    lengths = {entry.latency.new_tokens for entry in read_ledger(Path(path))}
    if len(lengths) != 1:
        raise UserError(f"latency ledger '{path}' holds latencies of {len(lengths)} lengths: say which, --new-tokens N")
    return lengths.pop()


def _architectures(path: Path, base: Base) -> list[Architecture]:
    """Returns the architectures of this base in a ledger, each once. Raises UserError where there are none."""
    from rsopt.latency.protocol import shape_context

    shape = shape_context(base.model.config)
    ours = [e for e in read_ledger(path) if all(e.context[name] == value for name, value in shape.items())]
    architectures = list(dict.fromkeys(replace(e.architecture, dtype=base.dtype) for e in ours))
    if not architectures:
        raise UserError(f"latency ledger '{path}' holds no architecture of base '{base.name}'")
    return architectures
