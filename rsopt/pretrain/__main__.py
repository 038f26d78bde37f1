"""python -m rsopt.pretrain: pretrain the tiny base on generated pictures and sentences."""

from __future__ import annotations

import sys
from pathlib import Path

from rsopt.cli import Parser, command, from_repository, positive


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.pretrain",
        description="Pretrain the tiny base on generated pictures and sentences. Takes about 25 minutes on 2 cores.",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the base to")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all randomness (default: %(default)s)")
    p.add_argument(
        "--scale",
        type=positive(),
        default=1.0,
        metavar="X",
        help="share of the full budget of pictures and steps (default: %(default)s)",
    )
    p.add_argument(
        "--keep", type=Path, metavar="DIR", help="folder for the weights of each stage; a stage found there is not repeated"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, pretrain, save."""
    options = parser().parse_args(argv)
    tiny = from_repository("research.tiny_world.pretrain")  # after parsing: torch takes seconds to import
    tiny.write_base(options.out, options.seed, options.scale, options.keep)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
