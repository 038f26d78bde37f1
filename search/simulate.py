"""python -m search.simulate: replay a recorded table through samplers and schedulers, in simulated time."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable

from rsopt.cli import Parser, add_json, command, positive, whole
from rsopt.errors import UserError
from search.study.options import options_of
from search.study.settings import SAMPLERS, SCHEDULES, Settings

EPILOG = """\
example:
  python -m search.simulate --sampler known_cost,random --workers 1,8 --seeds 3
"""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.simulate",
        description="Replay recorded learning curves through the real search in simulated time: how much of the true front is "
        "found after how much training. Training is counted in full trials, shares are of the true front's hypervolume.",
        epilog=EPILOG,
    )
    p.add_argument("--table", default="tiny-mini", metavar="T", help="shipped table or NAME.json.gz (default: %(default)s)")
    p.add_argument("--sampler", type=_some(SAMPLERS), default=",".join(SAMPLERS), metavar="S,...", help="default: %(default)s")
    p.add_argument(
        "--schedule",
        type=_some(("default", *SCHEDULES)),
        default="default",
        metavar="S,...",
        help=f"default (the sampler's own), {', '.join(SCHEDULES)} (default: %(default)s)",
    )
    p.add_argument("--workers", type=_counts, default="1", metavar="N,...", help="simulated workers (default: %(default)s)")
    p.add_argument("--seeds", type=whole(1), default=5, metavar="N", help="seeds of each (default: %(default)s)")
    p.add_argument("--budget", type=positive(), default=40.0, metavar="X", help="full trials of training (default: %(default)s)")
    p.add_argument("--trials", type=whole(1), metavar="N", help="candidates at most (default: as many as the budget allows)")
    p.add_argument("--stragglers", type=float, default=0.0, metavar="X", help="share of legs ten times slower (default: 0)")
    p.add_argument("--losses", type=float, default=0.0, metavar="X", help="share of legs lost half way (default: 0)")
    limits = options_of(Settings)
    for name in ("max_params", "max_latency_ms"):
        p.add_argument(limits[name].flag, **limits[name].argument)
    p.add_argument("--processes", type=whole(1), default=2, metavar="N", help="processes that simulate (default: %(default)s)")
    add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, replay, print."""
    options = parser().parse_args(argv)
    if not (options.stragglers >= 0 and options.losses >= 0 and options.stragglers + options.losses < 1):
        raise UserError("--stragglers and --losses are shares that sum to less than 1")
    # After parsing: Optuna and scikit-learn take seconds to import.
    from search.optimizer.factory import default_schedule
    from search.simulation.grid import LEVELS, run_grid
    from search.simulation.recording import load_recording
    from search.simulation.replay import Disturbances, Setup
    from search.study.limits import Limits

    load_recording(options.table)  # a damaged table is refused before any process starts
    limits = Limits(options.max_params, options.max_latency_ms)
    setups = [
        Setup(sampler, chosen, workers, options.budget, options.trials, limits, Disturbances(options.stragglers, options.losses))
        for workers in options.workers
        for sampler in options.sampler
        for schedule in options.schedule
        if (chosen := default_schedule(sampler) if schedule == "default" else schedule) != "promote" or sampler == "known_cost"
    ]

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done}/{of} runs" + ("\n" if done == of else ""))

    cells = list(run_grid(options.table, setups, options.seeds, options.processes, progress))
    if options.json:
        sys.stdout.write(json.dumps({"table": options.table, "cells": [c.summary() for c in cells]}, indent=1) + "\n")
        return 0
    head = f"{'sampler':<12}{'schedule':<10}{'workers':>7}" + "".join(f"{f'to {level:.0%}':>18}" for level in LEVELS)
    sys.stdout.write(f"full trials to a share of the true front, median [quartiles] of {options.seeds} seeds\n{head}\n")
    for cell in cells:
        reach = "".join(f"{_format(cell.to_reach(level)):>18}" for level in LEVELS)
        sys.stdout.write(f"{cell.setup.sampler:<12}{cell.setup.schedule:<10}{cell.setup.workers:>7}{reach}\n")
    return 0


def _some(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """The type of an option: one or more of the `known` words, separated by commas."""

    def convert(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        if not words or not set(words) <= set(known):
            raise ArgumentTypeError(f"must be one or more of {', '.join(known)}, not '{text[:60]}'")
        return words

    return convert


def _counts(text: str) -> list[int]:
    """The type of an option: numbers of at least 1, separated by commas."""
    return [whole(1)(word) for word in text.split(",")]


def _format(quartiles: tuple[float, float, float]) -> str:
    low, middle, high = (">" if value == float("inf") else f"{value:.1f}" for value in quartiles)
    return f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(command(main))
