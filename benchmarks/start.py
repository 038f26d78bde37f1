"""From "trial assigned" to "first step": a process that is warm against one that starts, on the shipped base.

Run from the repository root: python -m benchmarks.start [--cold 3] [--warm 6]. Written to docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.report import FILE, machine, table, write_section

_COLD = "import time; begin = time.perf_counter()\nfrom benchmarks.start import first_steps\nfirst_steps(begin, 1)"


def main() -> int:
    """Measure both, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cold", type=int, default=3, help="processes started (default: %(default)s)")
    p.add_argument("--warm", type=int, default=6, help="legs in a warm process (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    options = p.parse_args()
    cold = []
    for _ in range(options.cold):
        done = subprocess.run([sys.executable, "-c", _COLD], check=True, capture_output=True, text=True)
        cold += json.loads(done.stdout.splitlines()[-1])
    done = subprocess.run(
        [sys.executable, "-c", f"{_COLD[:-2]}{options.warm + 1})"], check=True, capture_output=True, text=True
    )
    warm = json.loads(done.stdout.splitlines()[-1])[1:]
    rows = [
        ["cold process", median(cold), min(cold), max(cold), 1.0],
        ["warm worker", median(warm), min(warm), max(warm), median(cold) / median(warm)],
    ]
    print(json.dumps({"cold_s": cold, "warm_s": warm}))
    facts = {
        "command": "`python -m benchmarks.start`",
        "machine": machine(),
        "work": "base tiny, features in the cache, full depth, LoRA r16 on all linears of LLM and Q-Former",
    }
    body = table(["assigned to first step", "median, s", "least", "most", "ratio"], rows)
    write_section("trial start --base tiny", facts, body, options.out)
    return 0


def first_steps(begin: float, legs: int) -> None:
    """Print the seconds from assignment to first step of so many legs as JSON; the first was assigned at `begin`."""
    from rsopt.core.candidate import Candidate, Leg
    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.model.base import load_base
    from rsopt.trial.run_leg import run_leg
    from rsopt.trial.worker_context import WorkerContext

    torch.set_num_threads(1)
    worker = WorkerContext(load_base("tiny"), read(mini_folder()))
    lora = LoraSpec(LoraPart(16, 32, "all_linear"), LoraPart(16, 32, "all_linear"))
    candidate = Candidate(Variant.full(worker.base.shape, lora), Recipe(lr=1e-3, epochs=1))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(legs):
            leg = Leg(number, candidate, 0.0, 0.1, seed=number)
            device_lock = DeviceLock("start", Path(folder) / "quiet")
            assigned = begin if number == 0 else time.perf_counter()
            measurement = run_leg(leg, worker, Path(folder), Ledger(Path(folder) / "ledger"), device_lock, assigned)
            device_lock.close()
            found.append(measurement.seconds["first_step"])
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
