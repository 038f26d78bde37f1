"""Searchers side by side on a recorded table: compute to a share of the true front. Written to docs/searchers.md, with a plot.

Run from the repository root: python -m benchmarks.searchers [--table tiny-mini] [--seeds 20] [--moasha-python PYTHON].
Stock Ray's OptunaSearch is driven as it is, under FIFO; Syne Tune's MOASHA by its own package in the environment of PYTHON
(pip install syne-tune==0.16.0). All begin with the space's starting points, may train equally many samples, and are judged by
the same hypervolume; candidates that break a limit count for nothing.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.report import machine, table, write_section
from benchmarks.rivals import MOASHA, STOCK, finished, moasha_legs, stock_legs, task_of
from search.simulation.grid import LEVELS, quartiles
from search.simulation.recording import Recording, load_recording
from search.simulation.replay import Curve, Setup, curve_of, feasible, replay
from search.study.limits import Limits

OUT = Path("docs/searchers.md")
# Name -> sampler and schedule of our own Search.
OURS = {
    "known_cost, rest and promote": ("known_cost", "promote"),
    "known_cost, halving": ("known_cost", "halving"),
    "known_cost, to the end": ("known_cost", "end"),
    "TPE, halving (ours)": ("tpe", "halving"),
    "TPE, to the end (ours: no repeats)": ("tpe", "end"),
    "random, to the end (ours: no repeats)": ("random", "end"),
}


def main() -> int:
    """Run all, print and write the comparison."""
    options = parser().parse_args()
    recording = load_recording(options.table)
    limits = Limits(None if options.max_params is None else int(options.max_params), options.max_latency_ms)
    found: dict[tuple[str, int], list[Curve]] = {}
    for workers in [int(word) for word in options.workers.split(",")]:
        for name, curves in compare(options, recording, workers, limits):
            found[name, workers] = curves
            print(f"{workers} workers  {name:<40}" + "  ".join(_cell(curves, level) for level in LEVELS), flush=True)
    body = report(found)
    facts = {
        "machine": machine(),
        "table": f"{options.table}, {len(recording.rows)} candidates, rungs {', '.join(f'{r:.3g}' for r in recording.rungs)}",
        "seeds": options.seeds,
        "budget": f"{options.budget:g} full trials",
        "limits": stated(recording, limits),
    }
    if options.out.suffix == ".md":
        for workers in sorted({workers for _, workers in found}):
            kind = "-limits" if limits.bounds() else ""
            picture = options.out.with_name(f"{options.out.stem}-{workers}{kind}.png")
            plot({n: c for (n, w), c in found.items() if w == workers}, workers, options.budget, picture)
            body += f"\n![hypervolume against compute, workers: {workers}]({picture.name})\n"
    heading = f"searchers on {Path(options.table).name.removesuffix('.json.gz')}" + ", limits" * bool(limits.bounds())
    write_section(heading, facts, body, options.out)
    return 0


def stated(recording: Recording, limits: Limits) -> str:
    """The limits, and how much of the table they exclude."""
    bounds = ", ".join(f"{name} at most {bound:g}" for name, bound in limits.bounds())
    keeps = feasible(recording, limits)
    out = sum(not keeps(candidate) for candidate in recording.candidates)
    return f"{bounds}: they exclude {out} of {len(recording.rows)}" if bounds else "none"


def parser() -> argparse.ArgumentParser:
    """Options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--table", default="tiny-mini", help="(default: %(default)s)")
    p.add_argument("--seeds", type=int, default=20, help="(default: %(default)s)")
    p.add_argument("--workers", default="1,8", help="(default: %(default)s)")
    p.add_argument("--budget", type=float, default=120.0, help="full trials (default: %(default)s)")
    p.add_argument("--moasha-python", help="a Python with syne-tune in it; without, MOASHA is left out")
    p.add_argument("--max-params", type=float, help="limit")
    p.add_argument("--max-latency-ms", type=float, help="limit")
    p.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    p.add_argument("--out", type=Path, default=OUT, help="Markdown file to write (default: %(default)s)")
    return p


def compare(options: Any, recording: Recording, workers: int, limits: Limits) -> Any:
    """(name, curves of all seeds) of every searcher."""
    task = task_of(recording, options.budget)
    with ProcessPoolExecutor(options.processes) as pool:
        for name, (sampler, schedule) in OURS.items():
            setup = Setup(sampler, schedule, workers, options.budget, limits=limits)
            jobs = [pool.submit(_ours, options.table, setup, seed) for seed in range(options.seeds)]
            yield name, [job.result() for job in jobs]
        for name, sampler in STOCK.items():
            stock = [
                pool.submit(stock_legs, recording.bound, task, sampler, workers, seed) for seed in range(options.seeds)
            ]
            yield name, [curve_of(recording, finished(recording, job.result()), limits) for job in stock]
        if options.moasha_python:
            theirs = [
                pool.submit(moasha_legs, options.moasha_python, task, workers, seed) for seed in range(options.seeds)
            ]
            yield MOASHA, [curve_of(recording, finished(recording, job.result()), limits) for job in theirs]


def _ours(name: str, setup: Setup, seed: int) -> Curve:
    return replay(load_recording(name), setup, seed)


def report(found: dict[tuple[str, int], list[Curve]]) -> str:
    """Tables for people: compute to each share, and how often more than ours the others need."""
    parts = []
    for workers in sorted({workers for _, workers in found}):
        ours = quartiles([c.to_reach(0.95) for c in found[next(iter(OURS)), workers]])[1]
        rows = []
        for (name, w), curves in found.items():
            if w == workers:
                median = quartiles([c.to_reach(0.95) for c in curves])[1]
                ratio = "more" if math.isinf(median) else f"{median / ours:.1f}x"
                test = quartiles([c.at(20.0, "test") for c in curves])[1]
                rows.append([name, *(_cell(curves, level) for level in LEVELS), ratio, f"{test:.3f}"])
        heads = ["searcher", *(f"to {level:.0%}" for level in LEVELS), "95 %: times ours", "test, after 20"]
        parts.append(
            f"{workers} worker{'s' * (workers > 1)}: full trials of training to a share of the true front's "
            f"hypervolume, median [quartiles]; last, the median share on the test split\n\n" + table(heads, rows)
        )
    return "\n\n".join(parts) + "\n"


def _cell(curves: list[Curve], level: float) -> str:
    low, middle, high = (">" if math.isinf(v) else f"{v:.1f}" for v in quartiles([c.to_reach(level) for c in curves]))
    return f"{middle} [{low}, {high}]"


def plot(found: dict[str, list[Curve]], workers: int, budget: float, path: Path) -> None:
    """Median and quartiles of the share against compute."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    marks = [budget * i / 240 for i in range(1, 241)]
    for name, curves in found.items():
        bands = [quartiles([c.at(mark) for c in curves]) for mark in marks]
        (line,) = axes.plot(marks, [b[1] for b in bands], label=name)
        axes.fill_between(marks, [b[0] for b in bands], [b[2] for b in bands], alpha=0.15, color=line.get_color())
    axes.set(
        xlabel="compute, full trials of training", ylabel="share of the true front's hypervolume", ylim=(0.6, 1.005)
    )
    axes.set_xscale("log")
    axes.set_title(f"{workers} worker{'s' * (workers > 1)}")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
