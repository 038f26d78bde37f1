"""python -m search.compare: the hand-made study's table beside what a study measured, and its conclusions against the data."""

from __future__ import annotations

import sys
from pathlib import Path

from rsopt.cli import Parser, add_json, command, from_repository
from rsopt.errors import UserError
from search.study.options import add_study_options

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
        description="The hand-made study's table beside a study of the space `report`: counts, scores, latencies, conclusions.",
        epilog=EPILOG,
    )
    add_study_options(p)
    p.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="NAME=captions.json",
        help="another system's captions of the validation images; may be given several times",
    )
    p.add_argument("--baselines", metavar="S", help="a study of other captioners, whose trials become rows")
    p.add_argument("--no-meteor", action="store_true", help="leave METEOR out (it needs Java, 0.5 GB and some seconds)")
    shape = p.add_mutually_exclusive_group()
    add_json(shape)
    shape.add_argument("--html", metavar="F", help="write one HTML file, for any browser, offline")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, gather, print."""
    options = parser().parse_args(argv)
    from search.study.settings import study_folder

    folder = study_folder(options.storage, options.name)
    given = [_row(text) for text in options.row]
    if len({name for name, _ in given}) < len(given):
        raise UserError("--row: each needs a name of its own")
    baselines = study_folder(options.storage, options.baselines) if options.baselines else None
    # After what can be refused: counting and scoring bring torch.
    report = from_repository("research.hand_made_study.report")
    report.write_report(folder, given, baselines, not options.no_meteor, options.json, options.html or "")
    return 0


def _row(text: str) -> tuple[str, Path]:
    """NAME and file of a --row. Raises UserError for what is not NAME=FILE."""
    name, found, path = text.partition("=")
    if not found or not name.strip() or not name.isprintable() or len(name) > 60:
        raise UserError(f"--row {text[:80]!r}: give NAME=captions.json, the name 1 to 60 printable characters")
    if not Path(path).is_file():
        raise UserError(f"--row {name}: '{path}' is not a file")
    return name.strip(), Path(path)


if __name__ == "__main__":
    sys.exit(command(main))
