"""python -m search.run: search a space for the Pareto front of quality and cost."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rsopt.cli import Parser, command
from rsopt.errors import UserError
from search.space.load import known_spaces, load_space
from search.study.options import SHARED, add_options, options_of
from search.study.settings import PLACE, Settings
from search.tracking.environment import configure

EPILOG = """\
examples:
  python -m search.run --space pruning
      the embedded default: the tiny base on the generated data set, minutes on a CPU
  python -m search.run --space pruning --base Salesforce/blip2-opt-2.7b --data RSICD
      a real search: RSICD is a folder with dataset_rsicd.json and RSICD_images/
  python -m search.run --resume --name pruning-1 --trials 48
      continue that study, with 48 trials in all

Ctrl-C keeps what is finished, prints its front and exits with 130; --resume --name S continues.
"""


def parser() -> Parser:
    """The command's options: those of Settings, and those of one session."""
    p = Parser(
        prog="python -m search.run",
        description="Search for captioners with the best CIDEr at the least latency and parameters.",
        epilog=EPILOG,
    )
    p.add_argument("--space", metavar="NAME_OR_FILE", help=f"search space: {', '.join(known_spaces())}, or a YAML file")
    p.add_argument("--resume", action="store_true", help="continue the study of that --name; needs no other option")
    p.add_argument("--dry-run", action="store_true", help="show space, costs and expected time; train nothing")
    groups = add_options(p, Settings)
    groups[PLACE].add_argument("--address", **SHARED["address"])
    return p


def typed_options(argv: list[str] | None) -> dict[str, Any]:
    """The options that were typed, without the defaults of the others."""
    typed = parser()
    for action in typed._actions:
        action.default = argparse.SUPPRESS
    return vars(typed.parse_args(argv))


def main(argv: list[str] | None = None) -> int:
    """Parse, check everything that can be wrong, search, report."""
    options, typed = parser().parse_args(argv), typed_options(argv)
    configure()
    # Ray, Optuna and MLflow take seconds to import: they come after all that is refused without them.
    if options.resume:
        if not options.name:
            raise UserError("--resume needs the --name of the study")
        from search.session.resume import continue_session

        return continue_session(options, typed)
    if options.space is None:
        raise UserError(f"--space is needed: {', '.join(known_spaces())} or a YAML file (or --resume --name S)")
    space = load_space(options.space)
    if space.rows and (idle := {"sampler", "halving", "from_study"} & typed.keys()):
        flag = options_of(Settings)[min(idle)].flag
        raise UserError(f"{flag}: space '{space.name}' is a list of rows, from which nothing is drawn")
    from search.session.start import new_session

    return new_session(options, space)


if __name__ == "__main__":
    sys.exit(command(main))
