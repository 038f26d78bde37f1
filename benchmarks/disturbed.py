"""Do published latencies hold where other programs disturb a search?

Runs the default search while another program takes all cores for a third of the time, then measures every architecture of the
front alone, on the quiet machine. Run from the repository root on an otherwise idle machine, some ten minutes a run:
    python -m benchmarks.disturbed [--runs N] [--seed N] [--trials N] [--quiet] [--code FOLDER]

Prints a table and a line of JSON for each run. `--code` runs the search of another checkout, such as an earlier commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import table
from rsopt.core.latency_kind import latency_kind
from rsopt.core.variant import Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol
from rsopt.latency.session import measure_latency
from rsopt.model.base import load_base
from rsopt.model.build import build
from rsopt.model.vision_features import pixels

REPOSITORY = Path(__file__).parents[1]
BUSY_S, IDLE_S = 20.0, 40.0
TOLERANCE = 0.05
HEAD = ("trial", "Q-Former, LLM layers", "published, ms", "interval", "kind", "alone, ms", "interval", "difference")
LOAD = "import numpy as np\na = np.random.rand(400, 400)\nwhile True: a @ a"


def main() -> int:
    """Run, measure, print. Returns 1 where a published latency does not hold."""
    options = parser().parse_args()
    torch.set_num_threads(1)
    runs = [one_run(options, seed) for seed in range(options.seed, options.seed + options.runs)]
    return 0 if all(run["within"] == run["members"] and run["marked"] <= 1 and run["in_order"] for run in runs) else 1


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=int, default=1, help="searches, each with its own seed (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the first search (default: %(default)s)")
    made.add_argument("--trials", type=int, help="of a search (default: the space's)")
    made.add_argument("--quiet", action="store_true", help="no other program, for comparison")
    made.add_argument("--code", type=Path, default=REPOSITORY, help="checkout whose search is run (default: this one)")
    return made


def one_run(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Search, measure the front alone, print a table; returns what it showed."""
    with tempfile.TemporaryDirectory(prefix="rsopt-disturbed-") as place:
        folder = Path(place)
        with load(not options.quiet):
            begin = time.time()
            search(options, folder, seed)
            wall_s = time.time() - begin
        study = folder / "runs" / "pruning-1"
        front = json.loads((study / "front.json").read_text())
        found = summary(front, study) | {"seed": seed, "wall_s": round(wall_s, 1)}
        rows, quiet = compared(front)
    found |= quiet
    print(f"{table(HEAD, rows)}\n\n{json.dumps(found)}\n", flush=True)
    return found


def search(options: argparse.Namespace, folder: Path, seed: int) -> None:
    """The default search of the checkout in `folder`, with a cache of its own, so that no latency is known."""
    environment = os.environ | {"PYTHONPATH": str(options.code.resolve()), "RSOPT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "search.run", "--space", "pruning", "--seed", str(seed)]
    if options.trials:
        command += ["--trials", str(options.trials)]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    """Other programs on every core, for BUSY_S seconds of each BUSY_S + IDLE_S."""
    stop = threading.Event()

    def alternate() -> None:
        while not stop.is_set():
            busy = [subprocess.Popen([sys.executable, "-c", LOAD], env=one_thread) for _ in range(os.cpu_count() or 1)]
            stop.wait(BUSY_S)
            for process in busy:
                process.kill()
                process.wait()
            stop.wait(IDLE_S)

    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    thread = threading.Thread(target=alternate)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join()


def summary(front: dict[str, Any], study: Path) -> dict[str, Any]:
    """Counts of sessions, and the workers' seconds of latency: in legs, and in the last sessions."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(study / "journal.log")))
    trials = optuna.load_study(study_name=None, storage=storage).trials
    legs = [rung["seconds"] for trial in trials for rung in trial.user_attrs["progress"]["rungs"]]
    return {
        "trials": len(front["trials"]),
        "architectures": len(
            {tuple(len(t["variant"][f"{p}_layers"]) for p in ("qformer", "llm")) for t in front["trials"] if t["rung"] > 0}
        ),
        "measured_in_legs": len((study / "latency.jsonl").read_text().splitlines()),
        "leg_latency_s": round(sum(s.get("latency", 0.0) + s.get("throughput", 0.0) for s in legs), 1),
        "last_latency_s": round(last_seconds(study), 1),
    }


def last_seconds(study: Path) -> float:
    """Workers' seconds of the last latencies; of an earlier version one worker's time from the last leg to the end."""
    path = study / "latency_front.json"
    last = json.loads(path.read_text()) if path.exists() else {}
    if all("seconds" in again for again in last.values()):
        return float(sum(again["seconds"] for again in last.values()))
    return path.stat().st_mtime - (study / "journal.log").stat().st_mtime


def compared(front: dict[str, Any]) -> tuple[list[list[Any]], dict[str, Any]]:
    """Rows of a table and a summary: published latencies of the front's members beside those of the quiet machine.

    Both are on the study's scale, as the speed of a machine may have changed since: a quiet latency is its ratio to the
    reference times the reference's time that the study's latencies are relative to.
    """
    base = load_base("tiny", torch.device("cpu"))
    data = read(mini_folder())
    image, lock = pixels(base, data.split("val")[:1]), DeviceLock("disturbed", Path(tempfile.mkdtemp()))
    # As many new tokens as the search times, but narrower intervals.
    protocol = replace(Protocol.for_device(base.device, new_tokens(data, base)), least_runs=40, width=0.02, seconds=10.0)
    members = [t for t in front["trials"] if t["pareto"]]
    scale_ms = usual_reference(front)
    alone: dict[tuple[int, ...], tuple[float, float, float]] = {}
    rows, within = list[list[Any]](), 0
    for trial in members:
        variant, depths = Variant.from_json(trial["variant"]), _depths(trial)
        if depths not in alone:
            quiet = measure_latency(build(base, replace(variant, lora=None)).model, base, image, protocol, lock)
            if quiet.disturbed:
                print(f"the quiet session of {depths} was disturbed: {quiet.disturbed}", file=sys.stderr)
            relative = quiet.relative_to(scale_ms)
            alone[depths] = relative.latency_ms, *relative.interval_ms
        published, low, high = (trial["metrics"][f"latency_{name}ms"] for name in ("", "low_", "high_"))
        quiet_ms, quiet_low, quiet_high = alone[depths]
        difference = published / quiet_ms - 1
        within += abs(difference) <= TOLERANCE or (low <= quiet_high and quiet_low <= high)
        shown = [f"{low:.1f} to {high:.1f}", latency_kind(trial["metrics"]), quiet_ms, f"{quiet_low:.1f} to {quiet_high:.1f}"]
        rows.append([trial["id"], depths, published, *shown, f"{difference:+.1%}"])
    differences = [t["metrics"]["latency_ms"] / alone[_depths(t)][0] - 1 for t in members]
    return rows, {
        "members": len(members),
        "within": within,
        "marked": sum(latency_kind(t["metrics"]) != "measured" for t in members),
        "in_order": all(in_order(a, b) for a, b in combinations(members, 2)),
        "largest_difference": round(float(np.max(np.abs(differences))), 4),
    }


def usual_reference(front: dict[str, Any]) -> float:
    """Milliseconds of the reference model that the study's latencies are relative to."""
    every = (t["metrics"] for t in front["trials"] if "latency_reference_ms" in t["metrics"])
    m = next(metrics for metrics in every if latency_kind(metrics) == "measured")
    return float(m["latency_ms"] / m["latency_raw_ms"] * m["latency_reference_ms"])


def new_tokens(data: Any, base: Any) -> int:
    """Mean tokens of a validation reference, end included."""
    from rsopt.trial.worker_context import WorkerContext

    return WorkerContext(base, data).reference_tokens


def in_order(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether the deeper of two trials is not faster beyond the intervals, if one is at least as deep in both parts."""
    for deep, flat in ((a, b), (b, a)):
        if all(d >= f for d, f in zip(_depths(deep), _depths(flat), strict=True)) and _depths(deep) != _depths(flat):
            return bool(deep["metrics"]["latency_high_ms"] >= flat["metrics"]["latency_low_ms"])
    return True


def _depths(trial: dict[str, Any]) -> tuple[int, int]:
    return len(trial["variant"]["qformer_layers"]), len(trial["variant"]["llm_layers"])


if __name__ == "__main__":
    sys.exit(main())
