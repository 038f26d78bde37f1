"""The command `python -m rsopt.data`: describes, fetches or generates a data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rsopt.cli import Parser, add_json, command, whole
from rsopt.errors import UserError

EPILOG = """\
examples:
  python -m rsopt.data describe RSICD
  python -m rsopt.data fetch rsicd RSICD
  python -m rsopt.data make-mini mini --images 240
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    return int(options.run(options))


def parser() -> Parser:
    """The command's options."""
    p = Parser(prog="python -m rsopt.data", description="Data sets of images with captions.", epilog=EPILOG)
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("describe", help="count a data set's images and captions, and list its problems")
    one.add_argument("path", metavar="PATH", help="folder, dataset JSON, parquet file or hub id")
    add_json(one)
    one.set_defaults(run=_describe)
    one = commands.add_parser("fetch", help="fetch a data set from the hub into RSICD's layout; run again to resume")
    one.add_argument("name", metavar="NAME", help="rsicd")
    one.add_argument("folder", metavar="DIR", type=Path, help="folder to write to")
    one.add_argument("--source", help="hub id, or folder of parquet files in the hub's form (default: arampacha/rsicd)")
    one.add_argument("--skip-bad", action="store_true", help="leave out rows and captions that cannot be read")
    one.set_defaults(run=_fetch)
    one = commands.add_parser("make-mini", help="generate the mini data set in RSICD's layout")
    one.add_argument("folder", metavar="DIR", type=Path, help="new or empty folder")
    one.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same seed writes the same bytes (default: %(default)s)"
    )
    one.add_argument("--images", type=whole(1), metavar="N", help="number of images (default: as many as a search uses)")
    one.set_defaults(run=_make_mini)
    return p


def _describe(options: argparse.Namespace) -> int:
    from rsopt.data.describe import describe
    from rsopt.data.description import print_description

    with _progress("looking at images") as progress:
        task = progress.add_task("looking at images", total=None)
        description = describe(options.path, lambda done, of: progress.update(task, completed=done, total=of))
    if options.json:
        sys.stdout.write(json.dumps(description, ensure_ascii=False) + "\n")
    else:
        print_description(description, Console(file=sys.stdout))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from rsopt.data.fetch import WARNING, fetch

    try:
        with _progress("writing images") as progress:
            task = progress.add_task("writing images", total=None)
            fetched = fetch(
                options.name,
                options.folder,
                options.source,
                lambda done, of, _: progress.update(task, completed=done, total=of),
                options.skip_bad,
            )
    except KeyboardInterrupt:
        sys.stderr.write("written images are kept; the same command goes on from there\n")
        raise
    images, written = fetched.images, fetched.written
    present = f" ({images - written} already present)" if written < images else ""
    sys.stdout.write(f"{options.folder}: {images} images in RSICD's layout, {written} written now{present}\n{WARNING}\n")
    if left_out := fetched.left_out:
        more = ", ..." if len(left_out) > 3 else ""
        sys.stdout.write(f"left out by --skip-bad: {len(left_out)}: {', '.join(left_out[:3])}{more}\n")
    return 0


def _make_mini(options: argparse.Namespace) -> int:
    from rsopt.data.generated.mini import IMAGES, make_mini

    images = IMAGES if options.images is None else options.images
    if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
        raise UserError(f"{options.folder} exists and is not an empty folder; name a new one")
    make_mini(options.folder, options.seed, images)
    sys.stdout.write(f"{options.folder}: {images} generated images in RSICD's layout, seed {options.seed}\n")
    return 0


def _progress(what: str) -> Progress:
    """A progress bar on stderr; a single line if stderr is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        sys.stderr.write(f"{what} ...\n")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    sys.exit(command(main))
