"""Time from the assignment of a trial to its first training step, in a running worker and in a new process, on tiny.

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

from benchmarks.report import FILE, measured_by, table, write_section

_COLD = "import time; begin = time.perf_counter()\nfrom benchmarks.start import first_steps\nfirst_steps(begin, 1)"


def main() -> int:
    """Measure both, print and write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cold", type=int, default=3, help="new processes (default: %(default)s)")
    p.add_argument("--warm", type=int, default=6, help="legs in a running worker (default: %(default)s)")
    p.add_argument("--out", type=Path, default=FILE, help="Markdown file to write (default: docs/benchmarks.md)")
    options = p.parse_args()
    cold = []
    for _ in range(options.cold):
        done = subprocess.run([sys.executable, "-c", _COLD], check=True, capture_output=True, text=True)
        cold += json.loads(done.stdout.splitlines()[-1])
    done = subprocess.run([sys.executable, "-c", f"{_COLD[:-2]}{options.warm + 1})"], check=True, capture_output=True, text=True)
    warm = json.loads(done.stdout.splitlines()[-1])[1:]
    rows = [
        ["cold process", median(cold), min(cold), max(cold), 1.0],
        ["warm worker", median(warm), min(warm), max(warm), median(cold) / median(warm)],
    ]
    print(json.dumps({"cold_s": cold, "warm_s": warm}))
    facts = [measured_by("python -m benchmarks.start"), "features cached, full depth, LoRA r16"]
    body = table(["assigned to first step", "median, s", "least", "most", "ratio"], rows)
    write_section("trial start --base tiny", facts, body, options.out)
    return 0


def first_steps(begin: float, legs: int) -> None:
    """Print the seconds from assignment to first step of each leg as JSON; the first was assigned at `begin`."""
    from benchmarks.bases import worker_on
    from rsopt.core.candidate import Candidate, Leg
    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.trial.context import TrialContext
    from rsopt.trial.run_leg import run_leg
    from rsopt.trial.stopwatch import Stopwatch
    from rsopt.trial.variant_trainee import VariantTrainee

    torch.set_num_threads(1)
    worker = worker_on()
    lora = LoraSpec(LoraPart(16, 32, "all_linear"), LoraPart(16, 32, "all_linear"))
    candidate = Candidate(Variant.full(worker.base.shape, lora), Recipe(lr=1e-3, epochs=1))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(legs):
            leg = Leg(number, candidate, 0.0, 0.1, seed=number)
            device_lock = DeviceLock("start", Path(folder) / "lock")
            assigned = begin if number == 0 else time.perf_counter()
            ledger, stopwatch = Ledger(Path(folder) / "ledger"), Stopwatch(worker.base.device, assigned)
            context = TrialContext(leg, worker, Path(folder), ledger, device_lock, stopwatch)
            measurement = run_leg(context, VariantTrainee)
            device_lock.close()
            seconds.append(measurement.seconds["first_step"])
    print(json.dumps(seconds))


if __name__ == "__main__":
    sys.exit(main())
