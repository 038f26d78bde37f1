"""`rsopt COMMAND`: every command of the project by one name, from any folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module

from rsopt import __version__
from rsopt.cli import Parser, UnknownOptionError, command
from rsopt.errors import UserError

# Modules are imported by name, when their command is called: a help text must not wait for the others.
COMMANDS = {
    "search": ("search.run", "search a space of compressed captioners for a Pareto front"),
    "front": ("search.front", "show a study's front: table, JSON, CSV, web page, MLflow"),
    "export": ("search.export", "write a trial of a study as a model for transformers"),
    "refit": ("search.refit", "train picks of a front again over several seeds"),
    "free": ("search.free", "measure a front with fewer beams and quantised weights; trains nothing"),
    "compare": ("search.compare", "compare a study of a fixed list with the hand-made study"),
    "simulate": ("search.simulate", "replay recorded learning curves through samplers and schedulers"),
    "cost": ("rsopt.cost.__main__", "count parameters, multiply-adds, sizes and memory of a variant"),
    "data": ("rsopt.data.__main__", "describe, fetch or generate a data set"),
    "scores": ("rsopt.scores.__main__", "score captions: BLEU, METEOR, ROUGE-L, CIDEr"),
    "caption": ("rsopt.caption.__main__", "caption images with an exported model"),
    "latency": ("rsopt.latency.__main__", "measure the latency of a model on this device"),
    "pretrain": ("rsopt.pretrain.__main__", "make a small base that sees your own pictures, to rehearse on a CPU"),
    "gpu-check": ("rsopt.gpu_check.__main__", "check whether a base fits on this GPU and what a trial costs"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first word names, with the words after it."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] not in COMMANDS:
        parser().parse_args(words[:1])  # --help and --version exit, anything else is refused
        raise AssertionError(words)
    try:
        return int(import_module(COMMANDS[words[0]][0]).main(words[1:]))
    except UnknownOptionError as error:
        owners = [p.prog for name in COMMANDS for p in _parsers(name) if error.option in p._option_string_actions]
        if not owners:
            raise
        raise UserError(f"{error.prog} has no option '{error.option}'; it is one of {' and '.join(owners)}") from error


def parser() -> Parser:
    """The parser of `rsopt` itself, whose help lists the commands."""
    p = Parser(
        prog="rsopt",
        description="Search for compressed BLIP-2 captioners, and work with the results.",
        epilog="`rsopt COMMAND --help` shows a command's options, with units, defaults and examples.",
    )
    p.add_argument("--version", action="version", version=f"rsopt {__version__}")
    commands = p.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (_, line) in COMMANDS.items():
        commands.add_parser(name, help=line)
    return p


def _parsers(name: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command, and those of its own subcommands."""
    whole = import_module(COMMANDS[name][0]).parser()
    yield whole
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def entry() -> int:
    """The console script."""
    return command(main)
