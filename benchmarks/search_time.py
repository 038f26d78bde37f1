"""Times a whole search with today's code and with an earlier commit: the same trials, all trained to the end, in turn.

Run from the root of a git checkout: python -m benchmarks.search_time [--before 04c66eb] [--repeats 2]. Both run
benchmarks/equal_trials.yaml over today's tiny base and the generated data, each time with an empty cache and without early
stopping. The default commit precedes the work on a trial's speed: PEFT's LoRA, transformers' beam search, no timed legs.
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

from benchmarks.report import FILE, measured_by, table, write_section

ROOT = Path(__file__).parents[1]
SPACE = Path(__file__).with_name("equal_trials.yaml")
TRIALS, WORKERS = 20, 2
PARTS = ("train", "caption", "latency", "first_step", "val_loss")


@dataclass(frozen=True, slots=True)
class TimedSearch:
    """One search: seconds of the whole command, worker seconds by part, legs, best CIDEr."""

    seconds: float
    parts: dict[str, float]
    legs: int
    best: float


def main() -> int:
    """Run both in turn, print and write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--before", default="04c66eb", help="commit to compare with (default: %(default)s)")
    p.add_argument("--repeats", type=int, default=2, help="searches of each (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    options = p.parse_args()
    with earlier(options.before) as old:
        trees = {options.before: (old, []), "today": (ROOT, ["--no-halving"])}
        searches: dict[str, list[TimedSearch]] = {name: [] for name in trees}
        for _ in range(options.repeats):
            for name, (tree, extra) in trees.items():
                searches[name].append(search(tree, extra))
                print(f"{name}: {searches[name][-1]}", flush=True)
    write(options, searches)
    return 0


@contextmanager
def earlier(commit: str) -> Iterator[Path]:
    """A working tree of that commit with today's tiny base, so that both do the same work."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=True, capture_output=True)
        try:
            shutil.rmtree(tree / "rsopt" / "tiny")
            shutil.copytree(ROOT / "rsopt" / "tiny", tree / "rsopt" / "tiny")
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def search(tree: Path, extra: list[str]) -> TimedSearch:
    """Run the search of a working tree with an empty cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = ["--space", str(SPACE), "--trials", str(TRIALS), "--workers", str(WORKERS), "--sampler", "random"]
        command = [sys.executable, "-m", "search.run", *options, "--name", "s", "--storage", str(folder / "runs"), *extra]
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
        sampled = [t for t in trials if t["state"] == "complete" and t["role"] not in ("zero_shot", "full_depth")]
        best = max(t["objectives"]["cider"] for t in sampled)
        return TimedSearch(seconds, {part: parts[part] for part in PARTS}, legs, best)


def write(options: argparse.Namespace, searches: dict[str, list[TimedSearch]]) -> None:
    """Write the table and the lines above it."""
    rows = []
    for name, runs in searches.items():
        whole = [run.seconds for run in runs]
        parts = [f"{median(run.parts[part] for run in runs):.1f}" for part in PARTS]
        best = ", ".join(f"{run.best:.1f}" for run in runs)
        rows.append([name, f"{median(whole):.0f} ({min(whole):.0f}..{max(whole):.0f})", *parts, best])
    before, today = (median(run.seconds for run in runs) for runs in searches.values())
    legs = next(iter(searches.values()))[0].legs
    facts = [
        measured_by(f"python -m benchmarks.search_time --before {options.before} --repeats {options.repeats}"),
        f"{TRIALS} named candidates and two references, all trained to the end ({legs} legs), {WORKERS} workers, empty caches",
        f"whole, earlier commit / today: {before / today:.2f}; ranges are of the repeats",
        "parts: worker seconds, measurement pauses included",
        "only today's has the device lock, a reference, the front measured again, the page",
    ]
    head = ["code", "whole, s", *PARTS, "best CIDEr"]
    write_section("a whole search, equal trials", facts, table(head, rows), options.out)


if __name__ == "__main__":
    sys.exit(main())
