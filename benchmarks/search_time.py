"""A whole search, today and at an earlier commit: the same trials, all trained to the end, in turn on this machine.

Run from the root of a git checkout: python -m benchmarks.search_time [--before 04c66eb] [--repeats 2]. Both run
benchmarks/equal_trials.yaml over today's tiny base and the generated data, each time with an empty cache; stopping early is
off. The default is the commit before a trial's speed was worked on: PEFT's LoRA, transformers' beam search, no timed legs.
Written to docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.report import FILE, machine, table, write_section

ROOT = Path(__file__).parents[1]
SPACE = Path(__file__).with_name("equal_trials.yaml")
TRIALS, WORKERS = 20, 2
PARTS = ("train", "caption", "latency", "val_loss", "score")


@dataclass(frozen=True, slots=True)
class Searched:
    """One search: seconds of the whole command, worker seconds by part, legs, best CIDEr."""

    seconds: float
    parts: dict[str, float]
    legs: int
    best: float


def main() -> int:
    """Run both in turn, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--before", default="04c66eb", help="commit to compare with (default: %(default)s)")
    p.add_argument("--repeats", type=int, default=2, help="searches of each (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    options = p.parse_args()
    with earlier(options.before) as old:
        trees = {options.before: (old, []), "today": (ROOT, ["--no-halving"])}
        found: dict[str, list[Searched]] = {name: [] for name in trees}
        for _ in range(options.repeats):
            for name, (tree, extra) in trees.items():
                found[name].append(search(tree, extra))
                print(f"{name}: {found[name][-1]}", flush=True)
    write(options, found)
    return 0


@contextmanager
def earlier(commit: str) -> Iterator[Path]:
    """A working tree of that commit with today's tiny base: another base would be other work."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=True, capture_output=True)
        try:
            shutil.rmtree(tree / "rsopt" / "tiny")
            shutil.copytree(ROOT / "rsopt" / "tiny", tree / "rsopt" / "tiny")
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def search(tree: Path, extra: list[str]) -> Searched:
    """Run the search of that working tree from nothing: no features, no generated data, no latencies."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = ["--space", str(SPACE), "--trials", str(TRIALS), "--workers", str(WORKERS), "--sampler", "random"]
        command = [sys.executable, "-m", "search.run", *asked, "--name", "s", "--storage", str(folder / "runs"), *extra]
        environment = os.environ | {"RSOPT_CACHE": str(folder / "cache"), "PYTHONPATH": str(tree)}
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"the search in {tree} ended with {done.returncode}: {done.stderr[-2000:]}")
        study, parts, legs = folder / "runs" / "s", Counter[str](), 0
        for path in study.glob("candidates/*/rung-*/measurement.json"):
            parts.update(json.loads(path.read_text())["seconds"])
            legs += 1
        trials = json.loads((study / "front.json").read_text())["trials"]
        searched = [t for t in trials if t["state"] == "complete" and t["role"] not in ("zero_shot", "full_depth")]
        best = max(t["objectives"]["cider"] for t in searched)
        return Searched(seconds, {part: parts[part] for part in PARTS}, legs, best)


def write(options: argparse.Namespace, found: dict[str, list[Searched]]) -> None:
    """The table, and the facts that it stands on."""
    rows = []
    for name, runs in found.items():
        whole = [run.seconds for run in runs]
        spent = [f"{median(run.parts[part] for run in runs):.1f}" for part in PARTS]
        best = ", ".join(f"{run.best:.1f}" for run in runs)
        rows.append([name, f"{median(whole):.0f}", f"{min(whole):.0f} to {max(whole):.0f}", *spent, runs[0].legs, best])
    before, today = (median(run.seconds for run in runs) for runs in found.values())
    facts = {
        "command": f"`python -m benchmarks.search_time --before {options.before} --repeats {options.repeats}`",
        "machine": machine(),
        "work": f"{TRIALS} named candidates and two references, all trained to the end, {WORKERS} workers, empty caches",
        "earlier commit / today": f"{before / today:.2f}",
        "by part": "worker seconds, pauses for measurements included; today's whole also has what the earlier does not do: "
        "latency in quiet against a reference, the front's latency and throughput taken again, the page",
    }
    heads = ["code", "whole, s", "range", *PARTS, "legs", "best CIDEr"]
    write_section("a whole search, equal trials", facts, table(heads, rows), options.out)


if __name__ == "__main__":
    sys.exit(main())
