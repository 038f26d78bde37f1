"""python -m rsopt.baselines: the costs of a baseline, and captions of one that a search has trained."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rsopt.cli import Parser, add_json, command, whole
from rsopt.core.candidate import BASELINES
from rsopt.errors import UserError

EPILOG = """\
examples:
  python -m rsopt.baselines cost puret --base opt-2.7b --words 9488
  python -m rsopt.baselines caption runs/baselines-1/candidates/0002/rung-1.0000/model IMAGE...
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.baselines",
        description="Costs and captions of the baselines PureT and BITA; `search.run --space baselines` trains them.",
        epilog=EPILOG,
    )
    kinds = p.add_subparsers(dest="what", required=True, metavar="cost|caption")
    cost = kinds.add_parser("cost", help="print exact parameters, multiply-adds and sizes; loads no weights")
    cost.add_argument("name", choices=tuple(BASELINES))
    cost.add_argument("--base", default="tiny", metavar="B", help="tiny: tiny sizes, else the paper's (default: tiny)")
    for name, default, text in (
        ("words", 9488, "rows of PureT's vocabulary"),
        ("text-tokens", 11, "text tokens of a caption"),
        ("beams", 1, "sequences that are computed"),
    ):
        cost.add_argument(f"--{name}", type=whole(1), default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add_json(cost)
    caption = kinds.add_parser("caption", help="caption images, one line for each, in the given order")
    caption.add_argument("model", metavar="DIR", help="folder `model` next to a trained baseline's measurement")
    caption.add_argument("images", nargs="+", metavar="IMAGE")
    caption.add_argument("--base", default="tiny", metavar="B", help="base it was trained on (default: %(default)s)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, count or caption, print. Raises UserError on wrong usage."""
    options = parser().parse_args(argv)
    if options.what == "cost":
        return _cost(options)
    for image in options.images:
        if not Path(image).is_file():
            raise UserError(f"no image '{image}'")
    from rsopt.baselines.load import load_baseline

    for line in load_baseline(Path(options.model), options.base)([Path(image) for image in options.images]):
        sys.stdout.write(f"{line}\n")
    return 0


def _cost(options: argparse.Namespace) -> int:
    from rsopt.baselines.cost import baseline_cost
    from rsopt.cost.memory import Workload
    from rsopt.model.configs import base_config

    load = Workload(text_tokens=options.text_tokens, beams=options.beams)
    costs = baseline_cost(options.name, base_config(options.base), options.base == "tiny", options.words, load)
    if options.json:
        sys.stdout.write(json.dumps(costs.to_json()) + "\n")
        return 0
    lines = [f"{'part':<14}{'parameters':>16}{'GMAC':>12}"]
    for part, count in costs.params.items():
        gmacs = f"{costs.gmacs[part]:.3f}" if part in costs.gmacs else ""
        lines.append(f"{part:<14}{count:>16,}{gmacs:>12}")
    lines.append(f"{'trainable':<14}{costs.trainable:>16,}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
