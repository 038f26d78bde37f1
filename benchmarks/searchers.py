"""Searchers side by side on a recorded table: compute to a share of the true front. Written to docs/searchers.md, with a plot.

Run from the repository root: python -m benchmarks.searchers [--table tiny-mini] [--seeds 20] [--moasha-python PYTHON].
Stock Ray's OptunaSearch is driven as it is, under FIFO; Syne Tune's MOASHA by its own package in the environment of PYTHON
(pip install syne-tune==0.16.0). All begin with the space's starting points, may train equally many samples, and are judged by
the same hypervolume; candidates that break a limit count for nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.asktell import drive, key_of
from benchmarks.report import machine, table, write_section
from rsopt.objectives import Fault, Measurement
from rsopt.recipe import Leg
from search.bound import options as options_of
from search.limits import Limits
from search.matrix import LEVELS, quartiles
from search.recording import Recording, load_recording
from search.replay import Curve, Setup, curve_of, replay
from search.runner import Finished

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
STOCK = {"TPE, FIFO (stock OptunaSearch)": "tpe", "NSGA-II, FIFO (stock OptunaSearch)": "nsga2"}
MOASHA = "MOASHA (Syne Tune)"


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
        "limits": ", ".join(f"{n} at most {v:g}" for n, v in limits.bounds()) or "none",
    }
    if options.out.suffix == ".md":
        for workers in sorted({workers for _, workers in found}):
            picture = options.out.with_name(f"{options.out.stem}-{workers}.png")
            plot({n: c for (n, w), c in found.items() if w == workers}, workers, options.budget, picture)
            body += f"\n![hypervolume against compute, {workers} workers]({picture.name})\n"
    write_section(f"searchers on {Path(options.table).name.removesuffix('.json.gz')}", facts, body, options.out)
    return 0


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
            stock = [pool.submit(stock_legs, task, sampler, workers, seed) for seed in range(options.seeds)]
            yield name, [curve_of(recording, finished(recording, job.result()), limits) for job in stock]
        if options.moasha_python:
            theirs = [
                pool.submit(moasha_legs, options.moasha_python, task, workers, seed) for seed in range(options.seeds)
            ]
            yield MOASHA, [curve_of(recording, finished(recording, job.result()), limits) for job in theirs]


def _ours(name: str, setup: Setup, seed: int) -> Curve:
    return replay(load_recording(name), setup, seed)


def task_of(recording: Recording, budget: float) -> dict[str, Any]:
    """The table as plain data: what searchers of other packages are driven with."""
    bound = recording.bound
    if bound.when:
        raise SystemExit("a space with conditionals cannot be put to searchers that know none")
    rows = {}
    alias = {}
    for params in bound.combinations():
        row = recording.row(bound.candidate(params))
        assert row.params is not None
        alias[key_of(params)] = row.params
        rows[key_of(row.params)] = {
            "cider": list(row.cider),
            "seconds": list(row.seconds),
            "latency_ms": row.latency_ms,
            **row.figures,
        }
    return {
        "rows": rows,
        "alias": {key: params for key, params in alias.items() if key != key_of(params)},
        "options": {name: options_of(over) for name, over in bound.distributions.items()},
        "objectives": [[o.name, o.minimised(1.0)] for o in recording.objectives],
        "starts": list(bound.starts),
        "rungs": list(recording.rungs),
        "budget": budget,
    }


def stock_legs(task: dict[str, Any], sampler: str, workers: int, seed: int) -> list[tuple[str, int, float]]:
    """Ray's OptunaSearch under FIFO: every trial runs to its end and is told there, as Tune does."""
    import os

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make: Callable[..., Any] = {"tpe": optuna.samplers.TPESampler, "nsga2": optuna.samplers.NSGAIISampler}[sampler]

    def space(trial: Any) -> None:
        for name, values in task["options"].items():
            # Ordered numbers as numbers, as one would write the space by hand.
            if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
                trial.suggest_int(name, values[0], values[-1], step=values[1] - values[0] if len(values) > 1 else 1)
            else:
                trial.suggest_categorical(name, values)

    names = [name for name, _ in task["objectives"]]
    modes = ["max" if sign < 0 else "min" for _, sign in task["objectives"]]
    # What Ray itself builds from seed= is TPESampler(seed); given explicitly, so that NSGA-II gets the same treatment.
    searcher = OptunaSearch(
        space=space, metric=names, mode=modes, sampler=make(seed=seed), points_to_evaluate=task["starts"]
    )

    def ask(number: int) -> str:
        params = searcher.suggest(str(number))
        return key_of(task["alias"].get(key_of(params), params))

    def report(number: int, key: str, at: int, row: dict[str, Any]) -> bool:
        if at < len(task["rungs"]) - 1:
            return True
        result = {name: row["cider"][at] if name == "cider" else row[name] for name in names}
        searcher.on_trial_complete(str(number), result)
        return False

    return drive(ask, report, lambda number: searcher.on_trial_complete(str(number), error=True), task, workers)


def moasha_legs(python: str, task: dict[str, Any], workers: int, seed: int) -> list[tuple[str, int, float]]:
    """Legs of one seed, from the bridge in the other environment."""
    bridge = Path(__file__).with_name("moasha_bridge.py")
    asked = json.dumps({"task": task, "workers": workers, "seed": seed})
    done = subprocess.run([python, str(bridge)], input=asked, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"the MOASHA bridge failed: {done.stderr.strip().splitlines()[-1]}")
    return [(key, at, end) for key, at, end in json.loads(done.stdout.splitlines()[-1])]


def finished(recording: Recording, legs: list[tuple[str, int, float]]) -> list[Finished]:
    """Legs by key as our simulator writes them."""
    found = []
    for number, (key, at, end) in enumerate(legs):
        candidate = recording.bound.candidate(json.loads(key))
        row, rungs = recording.row(candidate), recording.rungs
        leg = Leg(number, candidate, rungs[at - 1] if at else 0.0, rungs[at], 0)
        outcome: Measurement | Fault = (
            Measurement(leg.stop, recording.metrics(candidate, at), {})
            if at < len(row.cider)
            else Fault(leg.stop, "exception", row.fault or "")
        )
        found.append(Finished(0.0, end, leg, outcome))
    return found


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
