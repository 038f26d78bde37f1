"""Compares searchers on a recorded table: compute to reach a share of the true front's hypervolume.

Run from the repository root: python -m benchmarks.searchers [--table tiny-mini] [--seeds 20] [--moasha-python PYTHON].
Writes docs/searchers.md with a plot. Ray's OptunaSearch runs unchanged under FIFO; Syne Tune's MOASHA runs in the environment
of PYTHON (pip install syne-tune==0.16.0). All searchers begin with the space's starting points and have the same budget of
training; candidates that break a limit do not count.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figures import pyplot
from benchmarks.other_searchers import MOASHA, STOCK, finished, moasha_legs, stock_legs, task_of
from benchmarks.report import DOCS, measured_by, table, write_section
from search.simulation.grid import quartiles
from search.simulation.recording import Recording, load_recording
from search.simulation.replay import Curve, Setup, curve_of, feasible, replay
from search.study.limits import Limits

OUT = DOCS / "searchers.md"
LEVELS = (0.90, 0.95, 0.99)
# Row of the report -> sampler and schedule of this project's search.
OURS = {
    "known_cost, promote": ("known_cost", "promote"),
    "known_cost, halving": ("known_cost", "halving"),
    "known_cost, end": ("known_cost", "end"),
    "TPE, halving": ("tpe", "halving"),
    "TPE, end": ("tpe", "end"),
    "random, end": ("random", "end"),
}


def main() -> int:
    """Run all searchers, print and write the comparison."""
    options = parser().parse_args()
    recording = load_recording(options.table)
    limits = Limits(None if options.max_params is None else int(options.max_params), options.max_latency_ms)
    all_curves: dict[tuple[str, int], list[Curve]] = {}
    for workers in [int(word) for word in options.workers.split(",")]:
        for name, curves in compare(options, recording, workers, limits):
            all_curves[name, workers] = curves
            print(f"{workers} workers  {name:<30}" + "  ".join(_cell(curves, level) for level in LEVELS), flush=True)
    body = report(all_curves)
    rungs = ", ".join(f"{rung:.3g}" for rung in recording.rungs)
    facts = [
        measured_by(f"python -m benchmarks.searchers --table {options.table} --seeds {options.seeds}"),
        f"{len(recording.rows)} candidates, rungs {rungs}; {options.seeds} seeds, budget {options.budget:g} full trials, "
        + stated(recording, limits),
    ]
    if options.out.suffix == ".md":
        for workers in sorted({workers for _, workers in all_curves}):
            kind = "-limits" if limits.bounds() else ""
            picture = options.out.with_name(f"{options.out.stem}-{workers}{kind}.png")
            plot({n: c for (n, w), c in all_curves.items() if w == workers}, workers, options.budget, picture)
            body += f"\n![hypervolume against compute, {_workers(workers)}]({picture.name})\n"
    heading = f"searchers on {Path(options.table).name.removesuffix('.json.gz')}" + ", limits" * bool(limits.bounds())
    write_section(heading, facts, body, options.out)
    return 0


def stated(recording: Recording, limits: Limits) -> str:
    """The limits, and how many candidates of the table they exclude."""
    bounds = ", ".join(f"{name} at most {bound:g}" for name, bound in limits.bounds())
    keeps = feasible(recording, limits)
    excluded = sum(not keeps(candidate) for candidate in recording.candidates)
    return f"limits: {bounds}; they exclude {excluded} of {len(recording.rows)}" if bounds else "no limits"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--table", default="tiny-mini", help="recorded table (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=20, help="runs of each searcher (default: %(default)s)")
    p.add_argument("--workers", default="1,8", help="numbers of simulated workers (default: %(default)s)")
    p.add_argument("--budget", type=float, default=120.0, help="training of a run, in full trials (default: %(default)s)")
    p.add_argument("--moasha-python", help="interpreter of an environment with syne-tune; without it MOASHA is left out")
    p.add_argument("--max-params", type=float, help="limit on parameters")
    p.add_argument("--max-latency-ms", type=float, help="limit on latency")
    p.add_argument("--processes", type=int, default=2, help="that run at the same time (default: %(default)s)")
    p.add_argument("--out", type=Path, default=OUT, help="Markdown file to write (default: docs/searchers.md)")
    return p


def compare(options: argparse.Namespace, recording: Recording, workers: int, limits: Limits) -> Any:
    """Yield each searcher's name and the curves of all its seeds."""
    task = task_of(recording, options.budget)
    with ProcessPoolExecutor(options.processes) as pool:
        for name, (sampler, schedule) in OURS.items():
            setup = Setup(sampler, schedule, workers, options.budget, limits=limits)
            jobs = [pool.submit(_ours, options.table, setup, seed) for seed in range(options.seeds)]
            yield name, [job.result() for job in jobs]
        for name, sampler in STOCK.items():
            stock = [pool.submit(stock_legs, recording.bound, task, sampler, workers, seed) for seed in range(options.seeds)]
            yield name, [curve_of(recording, finished(recording, job.result()), limits) for job in stock]
        if options.moasha_python:
            moasha = [pool.submit(moasha_legs, options.moasha_python, task, workers, seed) for seed in range(options.seeds)]
            yield MOASHA, [curve_of(recording, finished(recording, job.result()), limits) for job in moasha]


def _ours(name: str, setup: Setup, seed: int) -> Curve:
    return replay(load_recording(name), setup, seed)


def report(all_curves: dict[tuple[str, int], list[Curve]]) -> str:
    """Markdown tables: compute to reach each share, and its ratio to the first searcher's.

    `all_curves` holds the curves of all seeds by searcher and number of workers.
    """
    parts = [
        "Full trials to a share of the true front's hypervolume: median [quartiles], `>` not reached; ratio: median to 95 % over "
        "the first row's; median share on the test split after 20. OptunaSearch (Ray) is stock; our TPE and random repeat no "
        "candidate."
    ]
    for workers in sorted({workers for _, workers in all_curves}):
        first = quartiles([c.to_reach(0.95) for c in all_curves[next(iter(OURS)), workers]])[1]
        rows = []
        for (name, w), curves in all_curves.items():
            if w == workers:
                median = quartiles([c.to_reach(0.95) for c in curves])[1]
                ratio = "more" if math.isinf(median) else f"{median / first:.1f}x"
                test = quartiles([c.at(20.0, "test") for c in curves])[1]
                rows.append([name, *(_cell(curves, level) for level in LEVELS), ratio, f"{test:.3f}"])
        head = ["searcher, schedule", *(f"to {level:.0%}" for level in LEVELS), "ratio", "test"]
        parts += [f"{_workers(workers)}:", table(head, rows)]
    return "\n\n".join(parts) + "\n"


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


def _cell(curves: list[Curve], level: float) -> str:
    low, middle, high = (">" if math.isinf(v) else f"{v:.1f}" for v in quartiles([c.to_reach(level) for c in curves]))
    return ">" if (low, middle) == (">", ">") else f"{middle} [{low}, {high}]"


def plot(by_searcher: dict[str, list[Curve]], workers: int, budget: float, path: Path) -> None:
    """Draw median and quartiles of the share against compute in full trials."""
    plots = pyplot()
    figure, axes = plots.subplots(figsize=(8, 5))
    marks = [budget * i / 240 for i in range(1, 241)]
    for name, curves in by_searcher.items():
        bands = [quartiles([c.at(mark) for c in curves]) for mark in marks]
        (line,) = axes.plot(marks, [b[1] for b in bands], label=name)
        axes.fill_between(marks, [b[0] for b in bands], [b[2] for b in bands], alpha=0.15, color=line.get_color())
    axes.set(xlabel="compute, full trials of training", ylabel="share of the true front's hypervolume", ylim=(0.6, 1.005))
    axes.set_xscale("log")
    axes.set_title(_workers(workers))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plots.close(figure)


if __name__ == "__main__":
    sys.exit(main())
