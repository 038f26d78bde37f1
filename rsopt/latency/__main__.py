"""python -m rsopt.latency: the latency protocol on a model, on two in turn, or on a base's architectures for a ledger."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rsopt.cli import Parser, command
from rsopt.errors import UserError
from rsopt.latency.device import device_name, quiet_name

if TYPE_CHECKING:
    pass
from rsopt.latency.fill_ledger import caption_tokens, fill_ledger
from rsopt.latency.setup import load_model, protocol_for, timing_images

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
        options.new_tokens = _TOKENS if options.like is None else caption_tokens(options.like)
    if options.new_tokens < 2 or (options.runs or 4) < 4 or (options.threads or 1) < 1:
        raise UserError("--new-tokens must be at least 2, --runs at least 4 and --threads at least 1")
    found = {"model": _model, "compare": _compare, "base": fill_ledger}[asked[0]](options)
    sys.stdout.write((json.dumps(found) if options.json else _text(found)) + "\n")
    return 0


def _model(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.session import NATURAL_IMAGES, measure_latency, natural_latency

    base = load_model(options.model, options)
    images = timing_images(base, options, NATURAL_IMAGES)
    protocol, device_lock = protocol_for(base, options), DeviceLock(quiet_name(base.device))
    latency = measure_latency(base.model, base, images[0], protocol, device_lock)
    natural_ms, natural_tokens = natural_latency(base.model, base, images, protocol, device_lock, runs=3)
    device_lock.close()
    return {
        **latency.to_json(),
        "natural_ms": natural_ms,
        "natural_tokens": natural_tokens,
        "natural_images": len(images),
    }


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    from rsopt.latency.compare import compare
    from rsopt.latency.device_lock import DeviceLock

    one, other = (load_model(name, options) for name in options.compare)
    if one.model.config.vision_config.image_size != other.model.config.vision_config.image_size:
        raise UserError("the two models take images of different sizes; compare them by --model, one by one")
    device_lock = DeviceLock(quiet_name(one.device))
    found = compare(one, other, timing_images(one, options, 1)[0], protocol_for(one, options), device_lock)
    device_lock.close()
    return {"models": list(options.compare), **found}


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
