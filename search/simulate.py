"""python -m search.simulate: a recorded table through samplers and schedules, with any number of workers, in simulated time."""

from __future__ import annotations

import json
import sys

from rsopt.cli import Parser, command
from rsopt.errors import UserError


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="python -m search.simulate",
        description="Replay recorded learning curves through the real search: how much of the true front is found after how "
        "much training. Compute is in full trials' worth of trained samples, shares are of the true front's hypervolume.",
    )
    p.add_argument("--table", default="tiny-mini", help="a shipped table or NAME.json.gz (default: %(default)s)")
    p.add_argument("--sampler", default="known_cost,tpe,nsga2,random", help="one or more (default: %(default)s)")
    p.add_argument(
        "--schedule",
        default="default",
        help="default (the sampler's own), promote, halving, end (default: %(default)s)",
    )
    p.add_argument(
        "--workers", default="1", help="simulated workers, one number or more: 1,8,100 (default: %(default)s)"
    )
    p.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds of each (default: %(default)s)")
    p.add_argument(
        "--budget", type=float, default=40.0, metavar="FULL", help="full trials of training (default: %(default)s)"
    )
    p.add_argument("--trials", type=int, metavar="N", help="candidates at most (default: as many as the budget holds)")
    p.add_argument("--stragglers", type=float, default=0.0, metavar="SHARE", help="legs ten times slower (default: 0)")
    p.add_argument(
        "--losses", type=float, default=0.0, metavar="SHARE", help="legs that are lost half way (default: 0)"
    )
    p.add_argument("--max-params", type=float, metavar="N", help="limit, as of search.run")
    p.add_argument("--max-latency-ms", type=float, metavar="X", help="limit, as of search.run")
    p.add_argument(
        "--processes", type=int, default=2, metavar="N", help="processes that simulate (default: %(default)s)"
    )
    p.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return p


def main(argv: list[str] | None = None) -> int:
    """Parse, replay, print."""
    options = parser().parse_args(argv)
    from search.optimizer.factory import SAMPLERS, SCHEDULES, default_schedule
    from search.simulation.grid import LEVELS, run_matrix
    from search.simulation.recording import load_recording
    from search.simulation.replay import Setup, Weather
    from search.study.limits import Limits

    load_recording(options.table)  # whatever is wrong with it is said before any process starts
    if min(options.seeds, options.processes) < 1 or not options.budget > 0:
        raise UserError("--seeds, --processes and --budget must be above 0")
    if not (options.stragglers >= 0 and options.losses >= 0 and options.stragglers + options.losses < 1):
        raise UserError("--stragglers and --losses are shares that sum to less than 1")
    samplers, schedules = _words(options.sampler, SAMPLERS), _words(options.schedule, ("default", *SCHEDULES))
    limits = Limits(None if options.max_params is None else int(options.max_params), options.max_latency_ms)
    setups = [
        Setup(
            sampler,
            chosen,
            workers,
            options.budget,
            options.trials,
            limits,
            Weather(options.stragglers, options.losses),
        )
        for workers in _counts(options.workers)
        for sampler in samplers
        for schedule in schedules
        if (chosen := default_schedule(sampler) if schedule == "default" else schedule) != "promote"
        or sampler == "known_cost"
    ]

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done}/{of} runs" + ("\n" if done == of else ""))

    cells = list(run_matrix(options.table, setups, options.seeds, options.processes, progress))
    if options.json:
        sys.stdout.write(json.dumps({"table": options.table, "cells": [c.summary() for c in cells]}, indent=1) + "\n")
        return 0
    head = f"{'sampler':<12}{'schedule':<10}{'workers':>7}" + "".join(f"{f'to {level:.0%}':>18}" for level in LEVELS)
    sys.stdout.write(f"full trials to a share of the true front, median [quartiles] of {options.seeds} seeds\n{head}\n")
    for cell in cells:
        reach = "".join(f"{_shown(cell.to_reach(level)):>18}" for level in LEVELS)
        sys.stdout.write(f"{cell.setup.sampler:<12}{cell.setup.schedule:<10}{cell.setup.workers:>7}{reach}\n")
    return 0


def _words(text: str, known: tuple[str, ...]) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise UserError(f"unknown '{word}'; known: {', '.join(known)}")
    if not words:
        raise UserError(f"nothing asked for; known: {', '.join(known)}")
    return words


def _counts(text: str) -> list[int]:
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(f"--workers takes numbers such as 1,8, not '{text}'") from error
    if min(counts) < 1:
        raise UserError(f"--workers must be at least 1, not {text}")
    return counts


def _shown(quartiles: tuple[float, float, float]) -> str:
    low, middle, high = (">" if value == float("inf") else f"{value:.1f}" for value in quartiles)
    return f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(command(main))
