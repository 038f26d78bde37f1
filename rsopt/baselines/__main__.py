"""python -m rsopt.baselines: what a baseline costs, and captions of one that a search has trained."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rsopt.cli import Parser, command
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
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = p.add_subparsers(dest="what", required=True, metavar="cost|caption")
    cost = kinds.add_parser("cost", help="exact parameters, multiply-adds and sizes, without weights")
    cost.add_argument("name", choices=tuple(BASELINES))
    cost.add_argument("--base", default="tiny", help="tiny sizes for tiny, else the paper's (default: %(default)s)")
    cost.add_argument("--words", type=int, default=9488, help="rows of PureT's vocabulary (default: %(default)s)")
    cost.add_argument("--text-tokens", type=int, default=11, help="text tokens of a caption (default: %(default)s)")
    cost.add_argument("--beams", type=int, default=1, help="sequences that are computed (default: %(default)s)")
    cost.add_argument("--json", action="store_true", help="print one JSON object on stdout, nothing else there")
    caption = kinds.add_parser("caption", help="one line an image, in the order given")
    caption.add_argument("model", metavar="DIR", help="the folder `model` beside a trained baseline's measurement")
    caption.add_argument("images", nargs="+", metavar="IMAGE")
    caption.add_argument("--base", default="tiny", help="the base it was trained over (default: %(default)s)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, count or caption, print. Raises UserError on wrong usage."""
    options = parser().parse_args(argv)
    if options.what == "cost":
        return _cost(options)
    for image in options.images:
        if not Path(image).is_file():
            raise UserError(f"no image '{image}'")
    from rsopt.baselines.load import reload

    for line in reload(Path(options.model), options.base)([Path(image) for image in options.images]):
        sys.stdout.write(f"{line}\n")
    return 0


def _cost(options: argparse.Namespace) -> int:
    if min(options.words, options.text_tokens, options.beams) < 1:
        raise UserError("--words, --text-tokens and --beams must be at least 1")
    from rsopt.baselines.cost import baseline_cost
    from rsopt.cost.memory import Workload
    from rsopt.model.configs import base_config

    load = Workload(text_tokens=options.text_tokens, beams=options.beams)
    found = baseline_cost(options.name, base_config(options.base), options.base == "tiny", options.words, load)
    if options.json:
        sys.stdout.write(json.dumps(found.to_json()) + "\n")
        return 0
    lines = [f"{'part':<14}{'parameters':>16}{'GMAC':>12}"]
    for part, count in found.params.items():
        gmacs = f"{found.gmacs[part]:.3f}" if part in found.gmacs else ""
        lines.append(f"{part:<14}{count:>16,}{gmacs:>12}")
    lines.append(f"{'trainable':<14}{found.trainable:>16,}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
