"""python -m search.free: the front's members, and the unpruned model, in forms that need no training."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rsopt.cli import EXIT_FAILED, EXIT_INTERRUPTED, Parser, command
from rsopt.errors import UserError
from search.results.front import study_front
from search.results.picks import unpruned
from search.study.settings import study_here

EPILOG = """\
examples:
  python -m search.free --name pruning-1
      beams 3 and 1, bfloat16, int8 and int4 weights of each member and of the unpruned model: CIDEr, latency, size
  python -m search.export --name pruning-1 --pick knee --dtype int8 --beams 1 --out small
      one of them, taken away

What is measured is not measured again. int8 and int4 need the package bitsandbytes (pip install 'rsopt[quant]').
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.free",
        description="What needs no training is measured, not searched: beams, 8-bit and 4-bit weights, precision.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--name", required=True, metavar="S", help="name of the study")
    p.add_argument("--workers", type=int, metavar="N", help="trials at once (default: one a core, or one a GPU share)")
    p.add_argument("--address", metavar="A", help="Ray cluster to join, such as auto (default: start a local one)")
    p.add_argument("--storage", default="runs", metavar="DIR", help="folder of the studies (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="print front.json and nothing else")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, refuse what can be refused, measure what is missing, print the front with it."""
    options = parser().parse_args(argv)
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers must be at least 1, not {options.workers}")
    folder = study_here(options.storage, options.name, "search.free")
    trials = of_front(study_front(folder))
    # After what can be refused at once: Ray, torch and MLflow take seconds to import.
    from search.followup.variant_session import measure_front
    from search.results.table import print_front

    interrupted, faults = measure_front(folder, [t["id"] for t in trials], options)
    front = study_front(folder)
    if options.json:
        sys.stdout.write(json.dumps(front, indent=1) + "\n")
    else:
        print_front(front)
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return EXIT_INTERRUPTED if interrupted else EXIT_FAILED if faults else 0


def of_front(front: dict[str, Any]) -> list[dict[str, Any]]:
    """The trials whose forms are measured: the unpruned model first, then the front. UserError where there is no front."""
    members = [t for t in front["trials"] if t["pareto"] and t["baseline"] is None]  # forms are of BLIP-2 alone
    if not members:
        raise UserError(f"study '{front['study']}' has no finished trial, so there is nothing to measure yet")
    whole = unpruned(front)
    return ([whole] if whole else []) + [t for t in members if whole is None or t["id"] != whole["id"]]


if __name__ == "__main__":
    sys.exit(command(main))
