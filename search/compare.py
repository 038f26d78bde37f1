"""python -m search.compare: compare a study with the hand-made one, row by row, and check that one's conclusions."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from pathlib import Path

from rsopt.cli import Parser, add_json, command, from_repository
from rsopt.errors import UserError
from search.space.load import load_space
from search.storage.layout import SPACE_FILE
from search.study.options import add_study_options
from search.study.settings import study_folder

EPILOG = """\
examples:
  python -m search.run --space report --name mine
  python -m search.compare --name mine                       Markdown on stdout
  python -m search.compare --name mine --html compare.html
  python -m search.compare --name mine --row GPT=gpt.json    another system's captions, {image id: caption}, scored alike
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.compare",
        description="Compare a study of the space `report` with the hand-made study that the project began with: counts, scores, "
        "latencies, conclusions.",
        epilog=EPILOG,
    )
    add_study_options(p)
    p.add_argument(
        "--row",
        type=_row,
        action="append",
        default=[],
        metavar="NAME=captions.json",
        help="another system's captions of the validation images; may be repeated",
    )
    p.add_argument("--baselines", metavar="S", help="a study of other captioners, whose trials become rows")
    p.add_argument("--no-meteor", action="store_true", help="leave METEOR out (it needs Java, 5 s and 0.5 GB)")
    shape = p.add_mutually_exclusive_group()
    add_json(shape)
    shape.add_argument("--html", metavar="F", help="write one HTML file, for any browser, offline")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, check, compare, print."""
    options = parser().parse_args(argv)
    if len({name for name, _ in options.row}) < len(options.row):
        raise UserError("--row: each needs a name of its own")
    folder = study_folder(options.storage, options.name)
    baselines = study_folder(options.storage, options.baselines) if options.baselines else None
    space = load_space(folder / SPACE_FILE)
    if not space.rows:
        raise UserError(
            f"study '{options.name}' drew its candidates from space '{space.name}'; only a study of a fixed list compares "
            "row by row, such as one of: python -m search.run --space report"
        )
    report = from_repository("research.hand_made_study.report")  # after the checks: it imports torch
    report.write_report(folder, options.row, baselines, not options.no_meteor, options.json, options.html or "")
    return 0


def _row(text: str) -> tuple[str, Path]:
    """The type of --row: a name and an existing file."""
    name, equals, path = text.partition("=")
    if not equals or not name.strip() or not name.isprintable() or len(name) > 60:
        raise ArgumentTypeError(f"must be NAME=captions.json with 1 to 60 printable characters in the name, not {text[:80]!r}")
    if not Path(path).is_file():
        raise ArgumentTypeError(f"must name a file, and '{path}' is not a file")
    return name.strip(), Path(path)


if __name__ == "__main__":
    sys.exit(command(main))
