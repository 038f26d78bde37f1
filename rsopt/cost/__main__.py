"""python -m rsopt.cost: the exact costs of a variant, computed from its configuration without weights."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rsopt.cli import Parser, add_json, command
from rsopt.core.variant import TARGETS, LoraPart, LoraSpec, Variant
from rsopt.cost.memory import BYTES, Workload
from rsopt.cost.model import Cost, CostModel
from rsopt.errors import UserError
from rsopt.model.configs import KNOWN, base_config, shape_of

EPILOG = """\
examples:
  python -m rsopt.cost --base opt-2.7b
  python -m rsopt.cost --base opt-2.7b --llm-layers 24 --qformer-layers 0,1,4,5,8,9 --lora llm --rank 16

LAYERS is a count from the first layer on (8) or a list of indices (0,1,4,5; a single index: 3,).
1 GMAC = 10^9 multiply-adds (a profiler's GFLOP is half of one), 1 MB = 10^6 bytes, 1 GB = 10^9 bytes.
GMAC are those of one image and, for each beam, of all query and text tokens, with the head at every position.
"""


def parser() -> Parser:
    """The command's options."""
    load = Workload()
    p = Parser(
        allow_abbrev=False,
        prog="python -m rsopt.cost",
        description="Exact parameters, multiply-adds and sizes of a variant, and its predicted peak memory. No weights are "
        "loaded.",
        epilog=EPILOG,
    )
    p.add_argument("--base", required=True, metavar="B", help=KNOWN)
    for part in ("vision", "qformer", "llm"):
        p.add_argument(f"--{part}-layers", metavar="LAYERS", help="layers that are kept (default: all)")
    p.add_argument("--vocab-size", type=int, metavar="ROWS", help="rows of the embedding (default: the base's)")
    p.add_argument("--lora", choices=("llm", "qformer", "both"), help="component with LoRA (default: none)")
    p.add_argument("--rank", type=int, default=16, metavar="N", help="LoRA rank (default: %(default)s)")
    p.add_argument("--targets", default="qk", metavar="T", help=f"LoRA targets: {', '.join(TARGETS)} (default: %(default)s)")
    p.add_argument("--qformer-rank", type=int, metavar="N", help="LoRA rank in the Q-Former (default: --rank)")
    p.add_argument("--qformer-targets", metavar="T", help="LoRA targets in the Q-Former (default: --targets)")
    p.add_argument("--lora-dropout", type=float, default=0.0, metavar="X", help="LoRA dropout (default: %(default)s)")
    p.add_argument("--train-projection", action="store_true", help="train the projection in full (with --lora)")
    for name, text in (
        ("text-tokens", "text tokens of a caption"),
        ("beams", "sequences that the LLM computes and caches for an image"),
        ("batch-images", "images of a training step; changes memory only"),
        ("captions-per-image", "distinct captions packed behind an image in training; changes memory only"),
        ("caption-images", "images captioned at once; changes memory only"),
    ):
        default = getattr(load, name.replace("-", "_"))
        p.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    p.add_argument(
        "--recompute",
        action="store_true",
        help="training with activations recomputed in the backward pass, as where memory is short; changes memory only",
    )
    p.add_argument(
        "--dtype", default=load.dtype, metavar="T", help=f"precision for memory: {', '.join(BYTES)} (default: %(default)s)"
    )
    add_json(p)
    return p


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


def _table(cost: Cost, variant: Variant, load: Workload) -> str:
    """The cost for people, units in the headings."""
    lines = [f"{'part':<14}{'layers':>8}{'parameters':>18}{'GMAC':>12}"]
    depth = {"vision": variant.vision_layers, "qformer": variant.qformer_layers, "llm": variant.llm_layers}
    for part, count in cost.params.items():
        layers = str(len(depth[part])) if part in depth else ""
        gmacs = f"{cost.gmacs[part]:.2f}" if part in cost.gmacs else ""
        lines.append(f"{part:<14}{layers:>8}{count:>18,}{gmacs:>12}")
    lines += [f"{'trainable':<14}{'':>8}{cost.trainable:>18,}", ""]
    lines.append("size       " + ", ".join(f"{dtype} {size:,.1f} MB" for dtype, size in cost.size_mb.items()))
    memory = ", ".join(f"{name} {size:.3f} GB" for name, size in cost.memory_gb.items())
    lines.append(f"peak memory, predicted, {load.dtype}: {memory}")
    lines.append(f"for {load.text_tokens} text tokens and {load.beams} beam{'s' if load.beams > 1 else ''}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Raises UserError on wrong usage."""
    args = parser().parse_args(argv)
    config = base_config(args.base, args.vocab_size)
    shape = shape_of(config)
    parts = ("vision", "qformer", "llm")
    layers = [_layers(getattr(args, f"{p}_layers"), p, getattr(shape, f"{p}_layers")) for p in parts]
    names = ("text_tokens", "beams", "batch_images", "captions_per_image", "caption_images", "dtype", "recompute")
    try:
        variant = Variant(layers[0], layers[1], layers[2], _lora(args))
        load = Workload(**{name: getattr(args, name) for name in names})
    except ValueError as error:
        raise UserError(str(error)) from error
    cost = CostModel(config).cost(variant, load)
    sys.stdout.write((json.dumps(cost.to_json()) if args.json else _table(cost, variant, load)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
