"""python -m search.free: measure a front's members and the unpruned model in inference variants; trains nothing."""

from __future__ import annotations

import json
import sys

from rsopt.cli import EXIT_FAILED, EXIT_INTERRUPTED, Parser, add_json, command
from rsopt.errors import UserError
from search.results.front import Front, FrontEntry
from search.results.picks import unpruned
from search.study.options import add_study_options
from search.study.settings import local_study_folder
from search.tracking.environment import configure

EPILOG = """\
examples:
  python -m search.free --name pruning-1
      beams 3 and 1, bfloat16, int8 and int4 weights of each member and of the unpruned model: CIDEr, latency, size
  python -m search.export --name pruning-1 --pick knee --dtype int8 --beams 1 --out small
      export one of them

A variant is measured once. int8 and int4 need the package bitsandbytes (pip install 'rsopt[quant]').
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.free",
        description="Measure the front and the unpruned model with fewer beams and with 8-bit, 4-bit and other weights. "
        "Nothing is trained.",
        epilog=EPILOG,
    )
    add_study_options(p, "workers", "address")
    add_json(p, "front.json")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, check, measure what is missing, print the front with it."""
    options = parser().parse_args(argv)
    folder = local_study_folder(options.storage, options.name, "search.free")
    from search.results.build_front import study_front  # after parsing: SciPy takes most of a second to import

    trials = measured_trials(study_front(folder))
    # After the checks: Ray, torch and MLflow take seconds to import.
    configure()
    from search.followup.variant_session import measure_missing
    from search.results.table import print_front

    interrupted, faults = measure_missing(folder, [t.id for t in trials], options)
    front = study_front(folder)
    if options.json:
        sys.stdout.write(json.dumps(front.to_json(), indent=1) + "\n")
    else:
        print_front(front)
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return EXIT_INTERRUPTED if interrupted else EXIT_FAILED if faults else 0


def measured_trials(front: Front) -> list[FrontEntry]:
    """The trials to measure: the unpruned model, then the front. Raises UserError where no trial has finished."""
    members = [t for t in front.members if t.baseline is None]  # forms are of BLIP-2 alone
    if not members:
        raise UserError(f"study '{front.study}' has no finished trial, so there is nothing to measure yet")
    whole = unpruned(front)
    return ([whole] if whole else []) + [t for t in members if whole is None or t.id != whole.id]


if __name__ == "__main__":
    sys.exit(command(main))
