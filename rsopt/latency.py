"""python -m rsopt.latency: the latency protocol on a model, on two in turn, or on a base's architectures for a ledger."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsopt.cli import Parser, command
from rsopt.core.variant import Architecture
from rsopt.errors import UserError
from rsopt.latency_device import device_name, quiet_name
from rsopt.ledger import read_ledger

if TYPE_CHECKING:
    import torch

    from rsopt.base import Base
    from rsopt.latency_protocol import Protocol

__all__ = ["device_name", "main"]

_TOKENS = 12
EPILOG = """\
examples:
  python -m rsopt.latency --model DIR --json
  python -m rsopt.latency --compare DIR1 DIR2
      both in turn; the ratio of their times and its interval
  python -m rsopt.latency --base opt-2.7b --random-weights --ledger F --new-tokens 12
      on the card that will run the model: then search.run --latency-ledger F --latency-device NAME optimises for it
  python -m rsopt.latency --base tiny --ledger F --like runs/S/latency.jsonl
      every architecture that study measured, on this device: then search.front --name S --latency-ledger F

One image in, caption ids out, batch 1, vision tower included, a fixed number of new tokens; docs/measurement.md.
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.latency",
        description=__doc__.split(": ", 1)[1].capitalize() if __doc__ else None,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--model", metavar="DIR", help="an exported model, or any folder or hub id of a BLIP-2 with an OPT")
    p.add_argument("--compare", nargs=2, metavar="DIR", help="two of them, timed in turn")
    p.add_argument("--base", metavar="B", help="a base whose architectures are measured for a ledger")
    p.add_argument(
        "--random-weights", action="store_true", help="make up the base's weights: time depends on shapes alone"
    )
    p.add_argument("--ledger", metavar="F", help="ledger to add to (with --base)")
    p.add_argument(
        "--like", metavar="F", help="with --ledger: the architectures (and new tokens) of this ledger, not about eight"
    )
    p.add_argument(
        "--new-tokens",
        type=int,
        metavar="N",
        help="new tokens, always so many (default: 12; a search takes the mean length of its data's references)",
    )
    p.add_argument(
        "--decoder",
        default="generate",
        choices=("generate", "shared_prefix"),
        help="whose time counts: transformers' generate or our beam search; the other is shown too (default: %(default)s)",
    )
    p.add_argument(
        "--runs", type=int, metavar="N", help="rounds (default: until steady, at least 200 on a GPU, 20 on a CPU)"
    )
    p.add_argument("--data", metavar="D", help="data set for natural lengths (default: mini, generated on first use)")
    p.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="(default: float32 on a CPU, half on a GPU)"
    )
    p.add_argument(
        "--threads", type=int, metavar="N", help="torch threads on a CPU (default: 1, as a search's workers)"
    )
    p.add_argument("--cpu", action="store_true", help="the CPU even where there is a GPU")
    p.add_argument("--json", action="store_true", help="print one JSON object on stdout, nothing else there")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, measure, print. Raises UserError on wrong usage."""
    options = parser().parse_args(argv)
    asked = [name for name in ("model", "compare", "base") if getattr(options, name)]
    if len(asked) != 1:
        raise UserError("one of --model, --compare and --base is needed (see --help)")
    if (options.ledger is not None) != (asked == ["base"]):
        raise UserError("--base and --ledger belong together: a ledger is of a base's architectures")
    if options.like and not options.ledger:
        raise UserError("--like goes with --ledger: it says which architectures that is to hold")
    if options.random_weights and not options.base:
        raise UserError("--random-weights goes with --base: an exported model has weights")
    if options.new_tokens is None:
        options.new_tokens = _TOKENS if options.like is None else _tokens_of(options.like)
    if options.new_tokens < 2 or (options.runs or 4) < 4 or (options.threads or 1) < 1:
        raise UserError("--new-tokens must be at least 2, --runs at least 4 and --threads at least 1")
    found = {"model": _model, "compare": _compare, "base": _ledger}[asked[0]](options)
    sys.stdout.write((json.dumps(found) if options.json else _text(found)) + "\n")
    return 0


def _model(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency_session import NATURAL_IMAGES, measure_latency, natural_latency
    from rsopt.quiet import Quiet

    base = _load(options.model, options)
    images = _images(base, options, NATURAL_IMAGES)
    protocol, quiet = _protocol(base, options), Quiet(quiet_name(base.device))
    latency = measure_latency(base.model, base, images[0], protocol, quiet)
    natural_ms, natural_tokens = natural_latency(base.model, base, images, protocol, quiet, runs=3)
    quiet.close()
    return {
        **latency.to_json(),
        "natural_ms": natural_ms,
        "natural_tokens": natural_tokens,
        "natural_images": len(images),
    }


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency_compare import compare
    from rsopt.quiet import Quiet

    one, other = (_load(name, options) for name in options.compare)
    if one.model.config.vision_config.image_size != other.model.config.vision_config.image_size:
        raise UserError("the two models take images of different sizes; compare them by --model, one by one")
    quiet = Quiet(quiet_name(one.device))
    found = compare(one, other, _images(one, options, 1)[0], _protocol(one, options), quiet)
    quiet.close()
    return {"models": list(options.compare), **found}


def _ledger(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.base import best_dtype
    from rsopt.build import build
    from rsopt.configs import base_config
    from rsopt.latency_model import LatencyModel, design
    from rsopt.latency_protocol import Protocol, cross_layers, first_layers, latency_context, of_depths
    from rsopt.latency_session import measure_latency, random_image
    from rsopt.ledger import Ledger
    from rsopt.quiet import Quiet
    from rsopt.synthetic import random_base

    if options.random_weights:
        device = _device(options)
        base = random_base(options.base, base_config(options.base), device, options.dtype or best_dtype(device))
    else:
        base = _load(options.base, options)
    # A search looks for exactly its own protocol: what is asked here beyond the length would make entries that never serve.
    protocol = Protocol.for_device(base.device, options.new_tokens, options.decoder)
    if options.runs:
        raise UserError("--runs does not go with --ledger: a search only takes entries of its own protocol")
    ledger, quiet = Ledger(Path(options.ledger)), Quiet(quiet_name(base.device))
    context, rows = latency_context(base, protocol), []
    if options.like:
        variants = [of_depths(a, cross, base.shape) for a, cross in _architectures(Path(options.like), base)]
    else:
        variants = [first_layers(*depths) for depths in design(base.shape)]
    for variant in variants:
        depths = [len(layers) for layers in (variant.vision_layers, variant.qformer_layers, variant.llm_layers)]
        built = build(base, variant)
        latency, new = ledger.get_or_measure(
            context,
            variant.architecture(base.dtype),
            cross_layers(variant, base.shape),
            lambda model=built.model: measure_latency(model, base, random_image(base), protocol, quiet),  # type: ignore[misc]
        )
        rows.append({"layers": depths, "latency_ms": latency.latency_ms, "measured": new})
        sys.stderr.write(f"V{depths[0]} Q{depths[1]} L{depths[2]}: {latency.latency_ms:.2f} ms\n")
    quiet.close()
    model = LatencyModel.fit(ledger.entries(context))
    return {
        "ledger": options.ledger,
        "device": context["device"],
        "dtype": base.dtype,
        "new_tokens": protocol.new_tokens,
        "decoder": protocol.decoder,
        "architectures": rows,
        "model_error": model.error if math.isfinite(model.error) else None,
    }


def _tokens_of(path: str) -> int:
    """New tokens of a ledger's sessions. Raises UserError for a file that is none, or holds several lengths."""
    lengths = {entry.latency.new_tokens for entry in read_ledger(Path(path))}
    if len(lengths) != 1:
        raise UserError(f"latency ledger '{path}' holds latencies of {len(lengths)} lengths: say which, --new-tokens N")
    return lengths.pop()


def _architectures(path: Path, base: Base) -> list[tuple[Architecture, int]]:
    """Architectures of this base in a ledger, with their cross-attention layers, each once. UserError where there are none."""
    from rsopt.latency_protocol import shape_context

    model = shape_context(base.model.config)
    ours = [e for e in read_ledger(path) if all(e.context[name] == value for name, value in model.items())]
    found = list(dict.fromkeys((replace(e.architecture, dtype=base.dtype), e.cross_layers) for e in ours))
    if not found:
        raise UserError(f"latency ledger '{path}' holds no architecture of base '{base.name}'")
    return found


def _device(options: argparse.Namespace) -> torch.device:
    import torch

    from rsopt.base import best_device

    device = torch.device("cpu") if options.cpu else best_device()
    if device.type == "cpu":
        torch.set_num_threads(options.threads or 1)
    return device


def _load(name: str, options: argparse.Namespace) -> Base:
    from transformers.utils import logging

    from rsopt.base import load_base

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return load_base(name, _device(options), options.dtype)


def _protocol(base: Base, options: argparse.Namespace) -> Protocol:
    """The search's protocol; on a CPU with more rounds, since no search waits."""
    from rsopt.latency_protocol import Protocol

    protocol = Protocol.for_device(base.device, options.new_tokens, options.decoder)
    if base.device.type == "cpu":
        protocol = replace(protocol, least_runs=20, seconds=10.0)
    if options.runs:
        protocol = replace(protocol, least_runs=options.runs, most_runs=options.runs)
    return protocol


def _images(base: Base, options: argparse.Namespace, count: int) -> list[torch.Tensor]:
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.features import pixels

    samples = read(options.data or mini_folder()).split("val")[:count]
    return [pixels(base, [sample]) for sample in samples]


def _text(found: dict[str, Any]) -> str:
    width = max(map(len, found))
    return "\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in found.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)


if __name__ == "__main__":
    sys.exit(command(main))
