"""python -m rsopt.latency: measure the latency of a model, of two in turn, or of a base's architectures for a ledger."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, get_args

from rsopt.cli import Parser, add_json, command, whole
from rsopt.core.inference import DECODERS, GENERATE
from rsopt.core.variant import Dtype
from rsopt.errors import UserError
from rsopt.latency.device import lock_name
from rsopt.latency.fill_ledger import caption_tokens, fill_ledger
from rsopt.latency.setup import load_model, protocol_for, timing_images

_TOKENS = 12
EPILOG = """\
examples:
  python -m rsopt.latency --model DIR --json
  python -m rsopt.latency --compare DIR1 DIR2
      timed in turn; prints the ratio of their times with its interval
  python -m rsopt.latency --base opt-2.7b --random-weights --ledger F --new-tokens 12
      on the GPU that will run the model; python -m search.run --latency-ledger F --latency-device NAME then searches for it
  python -m rsopt.latency --base tiny --ledger F --like runs/S/latency.jsonl
      every architecture that a study measured, on this device; python -m search.front --name S --latency-ledger F shows it

One measurement: one image in, caption ids out, batch 1, vision tower included, a fixed number of new tokens, in ms
(docs/measurement.md).
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.latency",
        description="Measure the latency of a model, of two models in turn, or of a base's architectures for a ledger.",
        epilog=EPILOG,
    )
    p.add_argument("--model", metavar="DIR", help="an exported model, or any folder or hub id of a BLIP-2 with an OPT")
    p.add_argument("--compare", nargs=2, metavar="DIR", help="two models, timed in turn")
    p.add_argument("--base", metavar="B", help="a base whose architectures are measured for a ledger")
    p.add_argument("--random-weights", action="store_true", help="random weights for the base: time depends on shapes only")
    p.add_argument("--ledger", metavar="F", help="ledger to append to (with --base)")
    p.add_argument(
        "--like",
        metavar="F",
        help="with --ledger: the architectures and new tokens of this ledger (default: about eight architectures)",
    )
    p.add_argument(
        "--new-tokens",
        type=whole(2),
        metavar="N",
        help="new tokens of every caption (default: 12; a search takes the mean length of its references)",
    )
    p.add_argument(
        "--decoder",
        default=GENERATE,
        choices=DECODERS,
        help="decoder that is timed: transformers' generate or our beam search; the other is shown too (default: %(default)s)",
    )
    p.add_argument(
        "--runs", type=whole(4), metavar="N", help="timed rounds (default: until steady, at least 30 on a GPU, 20 on a CPU)"
    )
    p.add_argument("--data", metavar="D", help="data set for natural lengths (default: mini, generated on first use)")
    p.add_argument("--skip-bad", action="store_true", help="leave out broken images and rows of --data")
    p.add_argument("--dtype", choices=get_args(Dtype), help="precision (default: float32 on a CPU, half on a GPU)")
    p.add_argument("--threads", type=whole(1), metavar="N", help="torch threads on a CPU (default: 1, as in a search's workers)")
    p.add_argument("--cpu", action="store_true", help="run on the CPU even where there is a GPU")
    add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, measure, print. Raises UserError on wrong usage."""
    options = parser().parse_args(argv)
    kinds = [name for name in ("model", "compare", "base") if getattr(options, name)]
    if len(kinds) != 1:
        raise UserError("one of --model, --compare and --base is needed (see --help)")
    if (options.ledger is not None) != (kinds == ["base"]):
        raise UserError("--base and --ledger belong together: a ledger is of a base's architectures")
    if options.like and not options.ledger:
        raise UserError("--like goes with --ledger: it says which architectures that is to hold")
    if options.random_weights and not options.base:
        raise UserError("--random-weights goes with --base: an exported model has weights")
    if options.new_tokens is None:
        options.new_tokens = _TOKENS if options.like is None else caption_tokens(options.like)
    result = {"model": _model, "compare": _compare, "base": fill_ledger}[kinds[0]](options)
    sys.stdout.write((json.dumps(result) if options.json else _text(result)) + "\n")
    return 0


def _model(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.session import NATURAL_IMAGES, measure_latency, natural_latency

    base = load_model(options.model, options)
    images = timing_images(base, options, NATURAL_IMAGES)
    protocol, device_lock = protocol_for(base, options), DeviceLock(lock_name(base.device), purpose="rsopt.latency")
    latency = measure_latency(base.model, base, images[0], protocol, device_lock)
    natural_ms, natural_tokens = natural_latency(base.model, base, images, protocol, device_lock, runs=3)
    device_lock.close()
    return {**latency.to_json(), "natural_ms": natural_ms, "natural_tokens": natural_tokens, "natural_images": len(images)}


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency.compare import compare
    from rsopt.latency.device_lock import DeviceLock

    one, other = (load_model(name, options) for name in options.compare)
    if one.model.config.vision_config.image_size != other.model.config.vision_config.image_size:
        raise UserError("the two models take images of different sizes; compare them by --model, one by one")
    device_lock = DeviceLock(lock_name(one.device), purpose="rsopt.latency")
    comparison = compare(one, other, timing_images(one, options, 1)[0], protocol_for(one, options), device_lock)
    device_lock.close()
    return {"models": list(options.compare), **comparison}


def _text(result: dict[str, Any]) -> str:
    width = max(map(len, result))
    return "\n".join(f"{name:<{width}}  {_format(value)}" for name, value in result.items())


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_format(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    return str(value)


if __name__ == "__main__":
    sys.exit(command(main))
