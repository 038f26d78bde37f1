"""Time and memory to build a variant over a loaded base: full depths (39/12/32) at a reduced width, random weights.

    python -m benchmarks.build

Prints milliseconds of a build, bytes it allocates as a share of the base's, and memory before and after a hundred builds.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time

import psutil
import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.core.variant import Variant
from rsopt.model.base import Base
from rsopt.model.build import build
from rsopt.model.configs import base_config, shape_of


def narrow_base() -> Base:
    """A base with the depths of blip2-opt-2.7b and about an eighth of its widths."""
    config = base_config("opt-2.7b")
    for part, width, inner, heads in (
        (config.vision_config, 176, 768, 8),
        (config.qformer_config, 96, 384, 4),
        (config.text_config, 320, 1280, 8),
    ):
        part.hidden_size, part.num_attention_heads = width, heads
        setattr(part, "ffn_dim" if hasattr(part, "ffn_dim") else "intermediate_size", inner)
    config.qformer_config.encoder_hidden_size = 176
    config.text_config.word_embed_proj_dim = 320
    model = Blip2ForConditionalGeneration(config).requires_grad_(False).eval()
    return Base("narrow", model, None, shape_of(config), "float32")


def tensor_bytes() -> int:
    """Bytes of all tensor storages in this process, each counted once."""
    gc.collect()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in gc.get_objects() if torch.is_tensor(t)}
    return sum(storages.values())


def main() -> int:
    """Build, measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    base = narrow_base()
    base_bytes = sum(p.numel() * p.element_size() for p in base.model.parameters())
    pruned = Variant(tuple(range(39)), tuple(range(8)), tuple(range(28)))
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        built = build(base, pruned)
        times.append(1e3 * (time.perf_counter() - begin))
        del built
    before = tensor_bytes()
    built = build(base, pruned)
    allocated = tensor_bytes() - before
    del built
    gc.collect()
    process = psutil.Process()
    rss = process.memory_info().rss
    for _ in range(100):
        build(base, pruned)
    gc.collect()
    result = {
        "machine": platform.processor() or platform.machine(),
        "base_mb": base_bytes / 1e6,
        "build_ms_median": statistics.median(times),
        "build_ms_range": [min(times), max(times)],
        "allocated_share": allocated / base_bytes,
        "tensor_bytes_after_100": tensor_bytes() - before,
        "rss_growth_mb_after_100": (process.memory_info().rss - rss) / 1e6,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
