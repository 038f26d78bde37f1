"""Compares this project's beam search with transformers' generate: the same captions, both timed batch by batch in turn.

Run from the repository root: python -m benchmarks.decode [--base small|tiny|FOLDER] [--images 40] [--natural] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import transformers

from benchmarks.bases import named_base
from rsopt.caption.beam_search import beam_search
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.latency.device import device_name
from rsopt.model.base import Base
from rsopt.model.prefix import query_prefix
from rsopt.model.vision_features import pixels

Decode = Callable[[torch.Tensor], torch.Tensor]


def main() -> int:
    """Measure, compare and print; the exit code is 1 if a caption differs."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    result = run(options)
    for name, value in result.items():
        print(f"{name:24s} {value}")
    print(json.dumps(result))
    return 1 if result["captions_differing"] else 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--base", default="small", help="small (random, 99 M), tiny or a folder")
    made.add_argument("--images", type=int, default=40, help="images in total")
    made.add_argument("--batch", type=int, default=20, help="images decoded together")
    made.add_argument("--beams", type=int, default=5, help="beams; 1 is greedy")
    made.add_argument("--new-tokens", type=int, default=20, help="new tokens: exactly, or at most with --natural")
    made.add_argument("--natural", action="store_true", help="captions end at their end token (those of a random base never do)")
    made.add_argument("--repeats", type=int, default=3, help="rounds over all images; the median counts")
    made.add_argument("--threads", type=int, default=1, help="torch threads")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the decoders; returns medians in seconds, ratios and the number of differing captions."""
    base = named_base(options.base, torch.device("cpu"))
    prefix = image_prefixes(base, options.images)
    batches = prefix.split(options.batch)
    ours, theirs = decoders(base, options.beams, options.new_tokens, options.natural)
    differing, tokens = 0, 0
    for batch in batches:  # untimed: warms both up
        our_ids, their_ids = ours(batch), theirs(batch)
        differing += int((our_ids != their_ids).any(1).sum()) if our_ids.shape == their_ids.shape else len(our_ids)
        tokens += int((our_ids != base.model.config.text_config.pad_token_id).sum())
    seconds: dict[str, list[float]] = {"ours": [], "transformers": []}
    for _ in range(options.repeats):
        spent = {"ours": 0.0, "transformers": 0.0}
        for number, batch in enumerate(batches):
            pair: list[tuple[str, Decode]] = [("ours", ours), ("transformers", theirs)]
            for name, decode in pair if number % 2 else reversed(pair):  # the second finds warmer caches
                spent[name] += timed(decode, batch)
        for name, value in spent.items():
            seconds[name].append(value)
    ratios = [t / o for o, t in zip(seconds["ours"], seconds["transformers"], strict=True)]
    return {
        "base": options.base,
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "images": options.images,
        "batch": options.batch,
        "beams": options.beams,
        "new_tokens": options.new_tokens,
        "natural": options.natural,
        "mean_tokens": round(tokens / options.images, 1),
        "captions_differing": differing,
        "ours_s": round(median(seconds["ours"]), 4),
        "transformers_s": round(median(seconds["transformers"]), 4),
        "ratio": round(median(ratios), 2),
        "ratio_lowest": round(min(ratios), 2),
        "ratio_highest": round(max(ratios), 2),
        "device": device_name(base.device),
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def image_prefixes(base: Base, images: int) -> torch.Tensor:
    """Query tokens and `</s>` of generated scenes, or of random features if the base has no image processor."""
    if base.processor.image_processor is None:
        config = base.model.config.vision_config
        tokens = (config.image_size // config.patch_size) ** 2 + 1
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(images, tokens, config.hidden_size, generator=generator).to(base.model.dtype)
    else:
        samples = read(mini_folder()).samples[:images]
        features = base.model.vision_model(pixels(base, samples)).last_hidden_state
    start = base.model.get_input_embeddings()(torch.full((images, 1), base.start_id))
    prefix = query_prefix(base.model, features)
    return torch.cat([prefix, start.to(prefix.dtype)], 1)


def decoders(base: Base, beams: int, new_tokens: int, natural: bool) -> tuple[Decode, Decode]:
    """This project's decoder and transformers', with the same settings."""
    model, config = base.model.language_model, base.model.config.text_config
    least = 0 if natural else new_tokens

    def ours(prefix: torch.Tensor) -> torch.Tensor:
        return beam_search(
            model,
            prefix,
            beams=beams,
            max_new_tokens=new_tokens,
            min_new_tokens=least,
            end_id=base.end_id,
            pad_id=config.pad_token_id,
        )

    def theirs(prefix: torch.Tensor) -> torch.Tensor:
        return model.generate(
            inputs_embeds=prefix,
            attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=new_tokens,
            min_new_tokens=least or None,
            eos_token_id=base.end_id,
            pad_token_id=config.pad_token_id,
        )

    return ours, theirs


def timed(decode: Decode, prefix: torch.Tensor) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    decode(prefix)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
