"""python -m search.front: show the front of a study as a table, JSON, CSV, a web page or in MLflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rsopt.cli import Parser, add_json, command
from rsopt.errors import UserError
from search.study.options import add_study_options
from search.study.settings import study_folder

EPILOG = """\
examples:
  python -m search.front --name pruning-1                      the front as a table
  python -m search.front --name pruning-1 --html front.html    an interactive page
  python -m search.front --name pruning-1 --latency-ledger F   the front with the latencies of another device
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.front",
        description="Show the Pareto front of a study: CIDEr x100 of validation, latency in ms, parameters.",
        epilog=EPILOG,
    )
    add_study_options(p)
    shape = p.add_mutually_exclusive_group()
    add_json(shape, "front.json")
    shape.add_argument("--csv", action="store_true", help="print one row for each trial and nothing else")
    shape.add_argument("--html", metavar="F", help="write the interactive page: one file, for any browser, offline")
    shape.add_argument(
        "--sync", nargs="?", const="", metavar="URI", help="write the study to MLflow again: to its own server, or to this one"
    )
    p.add_argument(
        "--latency-ledger",
        metavar="F",
        help="use the latencies in this ledger, which rsopt.latency measured on another device; trains nothing",
    )
    p.add_argument("--latency-device", metavar="NAME", help="the device to use of a ledger that holds several")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, load, print."""
    options = parser().parse_args(argv)
    if options.latency_ledger is None and options.latency_device is not None:
        raise UserError("--latency-device goes with --latency-ledger, which holds its latencies")
    if options.latency_ledger is not None and (options.html or options.sync is not None):
        raise UserError("--latency-ledger is for the table, --json and --csv: page and MLflow show what was measured")
    folder = study_folder(options.storage, options.name)
    # After parsing, and each where it is needed: a help text must not wait for MLflow or SciPy.
    if options.sync is not None:
        from search.tracking.environment import configure

        configure()
        from search.tracking.publish import publish_again

        sys.stdout.write(f"written to {publish_again(folder, options.sync or None)}\n")
        return 0
    if options.html:
        from search.html_report.write import write_page

        sys.stdout.write(f"{write_page(folder, Path(options.html))}\n")
        return 0
    from search.results.build_front import study_front
    from search.results.table import front_csv, print_front

    notes: list[str] = []
    if options.latency_ledger is not None:
        from search.results.other_device import front_for_device, summary_lines

        front = front_for_device(folder, Path(options.latency_ledger), options.latency_device)
        notes = summary_lines(front)
    else:
        front = study_front(folder)
    if options.csv:
        sys.stdout.write(front_csv(front))
    elif options.json:
        sys.stdout.write(json.dumps(front.to_json(), indent=1) + "\n")
    else:
        print_front(front)
        sys.stdout.writelines(f"{line}\n" for line in notes)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
