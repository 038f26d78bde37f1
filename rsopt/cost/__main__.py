"""Exact costs of a variant without its weights, and the command `python -m rsopt.cost` that prints them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rsopt.cli import Parser, command
from rsopt.core.variant import TARGETS, LoraPart, LoraSpec, Variant
from rsopt.cost.memory import BYTES, Workload
from rsopt.errors import UserError
from rsopt.model.configs import KNOWN, base_config, shape_of

if TYPE_CHECKING:
    pass
from rsopt.cost.model import Cost, CostModel


def _parser() -> Parser:
    load = Workload()
    parser = Parser(
        allow_abbrev=False,
        prog="python -m rsopt.cost",
        description="Exact parameters, multiply-adds and sizes of a variant and its predicted peak memory.",
        epilog="Units: GMAC = 10^9 multiply-adds (a profiler's GFLOP is half of one), MB = 10^6, GB = 10^9 bytes. "
        "GMAC are those of one image and, for each beam, all query and text tokens, the head at every position. "
        "LAYERS is a count from the first layer on (8) or indices (0,1,4,5; one index: 3,).",
    )
    parser.add_argument("--base", required=True, help=KNOWN)
    for part in ("vision", "qformer", "llm"):
        parser.add_argument(f"--{part}-layers", metavar="LAYERS", help="kept layers (default: all)")
    parser.add_argument("--vocab-size", type=int, metavar="ROWS", help="rows of the embedding (default: the base's)")
    parser.add_argument("--lora", choices=("llm", "qformer", "both"), help="component with LoRA (default: none)")
    parser.add_argument("--rank", type=int, default=16, help="LoRA rank (default: %(default)s)")
    parser.add_argument("--targets", default="qk", help=f"LoRA targets: {', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--qformer-rank", type=int, metavar="RANK", help="rank in the Q-Former (default: --rank)")
    parser.add_argument("--qformer-targets", metavar="TARGETS", help="targets in the Q-Former (default: --targets)")
    parser.add_argument("--lora-dropout", type=float, default=0.0, help="LoRA dropout (default: %(default)s)")
    parser.add_argument("--train-projection", action="store_true", help="train the projection in full (with --lora)")
    for name, text in (
        ("text-tokens", "text tokens of a caption"),
        ("beams", "sequences the LLM computes and remembers"),
        ("batch-images", "images in a training step, for memory"),
        ("captions-per-image", "distinct captions packed behind an image in training, for memory"),
        ("caption-images", "images captioned at once, for memory"),
    ):
        default = getattr(load, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="activations recomputed on the way back, for memory (as where it is short)",
    )
    parser.add_argument("--dtype", default=load.dtype, help=f"of memory: {', '.join(BYTES)} (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, on stdout")
    return parser


def _layers(text: str | None, part: str, depth: int) -> tuple[int, ...]:
    """Kept layers from a count or a comma list; all of `depth` if none are given. Raises UserError."""
    if text is None:
        return tuple(range(depth))
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise UserError(f"--{part}-layers takes a count (8) or indices (0,1,4,5), not '{text}'") from error
    if "," in text or not numbers:
        return tuple(numbers)
    if not 1 <= numbers[0] <= depth:
        raise UserError(f"--{part}-layers must be 1 to {depth}, the depth of the base, not {numbers[0]}")
    return tuple(range(numbers[0]))


def _lora(args: argparse.Namespace) -> LoraSpec | None:
    if args.lora is None:
        if args.train_projection:
            raise UserError("--train-projection needs --lora llm, qformer or both")
        return None
    llm = qformer = None
    if args.lora in ("llm", "both"):
        llm = LoraPart(args.rank, 2.0 * max(1, args.rank), args.targets)
    if args.lora in ("qformer", "both"):
        rank = args.rank if args.qformer_rank is None else args.qformer_rank
        qformer = LoraPart(rank, 2.0 * max(1, rank), args.qformer_targets or args.targets)
    return LoraSpec(llm, qformer, dropout=args.lora_dropout, train_projection=args.train_projection)


def _table(found: Cost, variant: Variant, load: Workload) -> str:
    """The cost for people, units in the headings."""
    lines = [f"{'part':<14}{'layers':>8}{'parameters':>18}{'GMAC':>12}"]
    depth = {"vision": variant.vision_layers, "qformer": variant.qformer_layers, "llm": variant.llm_layers}
    for part, count in found.params.items():
        layers = str(len(depth[part])) if part in depth else ""
        gmacs = f"{found.gmacs[part]:.2f}" if part in found.gmacs else ""
        lines.append(f"{part:<14}{layers:>8}{count:>18,}{gmacs:>12}")
    lines += [f"{'trainable':<14}{'':>8}{found.trainable:>18,}", ""]
    lines.append("size       " + ", ".join(f"{dtype} {size:,.1f} MB" for dtype, size in found.size_mb.items()))
    memory = ", ".join(f"{name} {size:.3f} GB" for name, size in found.memory_gb.items())
    lines.append(f"peak memory, predicted, {load.dtype}: {memory}")
    lines.append(f"for {load.text_tokens} text tokens and {load.beams} beam{'s' if load.beams > 1 else ''}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Raises UserError on wrong usage."""
    args = _parser().parse_args(argv)
    config = base_config(args.base, args.vocab_size)
    shape = shape_of(config)
    parts = ("vision", "qformer", "llm")
    kept = [_layers(getattr(args, f"{p}_layers"), p, getattr(shape, f"{p}_layers")) for p in parts]
    names = ("text_tokens", "beams", "batch_images", "captions_per_image", "caption_images", "dtype", "recompute")
    try:
        variant = Variant(kept[0], kept[1], kept[2], _lora(args))
        load = Workload(**{name: getattr(args, name) for name in names})
    except ValueError as error:
        raise UserError(str(error)) from error
    found = CostModel(config).cost(variant, load)
    sys.stdout.write((json.dumps(found.to_json()) if args.json else _table(found, variant, load)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
