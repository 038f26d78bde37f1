"""python -m rsopt.pretrain: pretrain a base of tiny's shape on the user's own pictures, or tiny itself on generated ones."""

from __future__ import annotations

import sys
from pathlib import Path

from rsopt.cli import Parser, command, from_repository, positive
from rsopt.errors import UserError

EPILOG = """\
examples:
  python -m rsopt.pretrain --data RSICD_FOLDER --out my_base
  python -m search.run --space pruning --data RSICD_FOLDER --base my_base

A run that was stopped continues when the same command is given again.
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m rsopt.pretrain",
        description="Pretrain a small base of tiny's shape on the training split of your data, so that a search can be rehearsed "
        "on a CPU with a model that sees your pictures. Takes about half an hour on 2 cores. Without --data it pretrains tiny "
        "itself, on generated pictures, which needs a clone of the repository.",
        epilog=EPILOG,
    )
    p.add_argument("--data", metavar="DIR", help="data set whose training split to learn from, as in search.run")
    p.add_argument("--skip-bad", action="store_true", help="leave out broken images and rows of --data, and count them")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the base to")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all randomness (default: %(default)s)")
    p.add_argument(
        "--scale", type=positive(), default=1.0, metavar="X", help="share of the full number of steps (default: %(default)s)"
    )
    p.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="without --data: folder for the weights of each stage; a stage found there is not repeated",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, pretrain, save."""
    options = parser().parse_args(argv)
    if options.data is None:
        if options.skip_bad:
            raise UserError("--skip-bad needs --data")
        tiny = from_repository("research.tiny_world.pretrain")  # after parsing: torch takes seconds to import
        tiny.write_base(options.out, options.seed, options.scale, options.keep)
        return 0
    if options.keep is not None:
        raise UserError("--keep is for generated pictures; with --data, checkpoints lie in --out until the base is written")
    from rsopt.pretrain.from_data import write_base

    write_base(options.data, options.out, options.seed, options.scale, options.skip_bad)
    sys.stdout.write(f"next: python -m search.run --space pruning --data {options.data} --base {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
