"""python -m search.front: the front of a study, as a table or as front.json. Also builds front.json for the driver."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rsopt.cli import Parser, command
from rsopt.errors import UserError
from search.results.front import study_front
from search.study.settings import study_folder


def main(argv: list[str] | None = None) -> int:
    """Parse, load, print."""
    from search.results.table import front_csv, print_front

    parser = Parser(prog="python -m search.front", description="The Pareto front of a study.")
    parser.add_argument("--name", required=True, help="name of the study")
    parser.add_argument(
        "--storage", default="runs", help="folder of the studies, or s3://BUCKET/PREFIX (default: %(default)s)"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print front.json and nothing else")
    shape.add_argument("--csv", action="store_true", help="print a row a trial and nothing else")
    shape.add_argument("--html", metavar="F", help="write the interactive page: one file, for any browser, offline")
    shape.add_argument(
        "--sync", nargs="?", const="", metavar="URI", help="write the study to MLflow again: its own server, or another"
    )
    parser.add_argument(
        "--latency-ledger",
        metavar="F",
        help="the front on the device of this ledger (rsopt.latency); nothing is trained",
    )
    parser.add_argument("--latency-device", metavar="NAME", help="which device's, where the ledger holds several")
    options = parser.parse_args(argv)
    folder = study_folder(options.storage, options.name)
    if options.latency_ledger is None and options.latency_device is not None:
        raise UserError("--latency-device goes with --latency-ledger, which holds its latencies")
    if options.latency_ledger is not None and (options.html or options.sync is not None):
        raise UserError("--latency-ledger is for the table, --json and --csv: page and MLflow show what was measured")
    if options.sync is not None:
        from search.tracking.sync import sync  # brings MLflow, which no other option needs

        sys.stdout.write(f"written to {sync(folder, options.sync or None)}\n")
        return 0
    if options.html:
        from search.html_report.write import write_page

        sys.stdout.write(f"{write_page(folder, Path(options.html))}\n")
        return 0
    notes: list[str] = []
    if options.latency_ledger is not None:
        from search.results.other_device import redraw, told

        front = redraw(folder, Path(options.latency_ledger), options.latency_device)
        notes = told(front)
    else:
        front = study_front(folder)
    if options.csv:
        sys.stdout.write(front_csv(front))
    elif options.json:
        sys.stdout.write(json.dumps(front, indent=1) + "\n")
    else:
        print_front(front)
        sys.stdout.writelines(f"{line}\n" for line in notes)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
