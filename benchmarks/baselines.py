"""CIDEr of the tiny baselines over seeds, with intervals, and the gain of self-critical training.

    python -m benchmarks.baselines --seeds 3

PureT is captioned twice: after cross-entropy training, and after self-critical training of the same weights. Paired bootstrap
over validation images compares the two; per-image CIDEr is averaged over seeds. Writes a section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bases import worker_on
from benchmarks.depths import cider_with_interval
from benchmarks.report import measured_by, spread, table, write_section
from rsopt.core.baseline import in_one_line
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.scores.baselines import baselines_of
from rsopt.scores.bootstrap import paired_bootstrap


@dataclass(frozen=True, slots=True)
class Scored:
    """CIDEr of one training at the end of a stage, and the number of captions that its reloaded export changes."""

    name: str
    per_image: list[float]
    changed: int


def evaluate(name: str, seed: int) -> list[Scored]:
    """Train a baseline with one seed and caption the validation split by the full protocol at the end of each stage."""
    import torch
    from transformers.utils import logging

    from rsopt.baselines.factory import make
    from rsopt.baselines.load import load_baseline
    from rsopt.baselines.schedules import plans
    from rsopt.core.inference import BEAMS

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    worker = worker_on()
    samples = worker.data.split("val")
    captioner = make(name, worker, seed)
    training = captioner.training()
    first = plans(name, tiny=True)[0].steps(training.images) / training.total_steps
    results: list[Scored] = []
    start = 0.0
    for label, stop in (("puret_xe", first), ("puret", 1.0)) if name == "puret" else ((name, 1.0),):
        begin = time.process_time()
        training.run(start, stop, lambda: None)
        seconds, start = time.process_time() - begin, stop
        captions = captioner.caption("val", 1, BEAMS, 20)
        score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
        sys.stderr.write(f"{label} seed {seed}: CIDEr {score.corpus:.1f}, {seconds:.0f} s of processor time\n")
        changed = 0
        if stop == 1.0:
            with tempfile.TemporaryDirectory() as folder:
                captioner.write(Path(folder))
                paths = [s.path for s in samples if s.path is not None]
                again = load_baseline(Path(folder), "tiny")(paths)
            changed = sum(a != b for a, b in zip(captions, again, strict=True))
        results.append(Scored(label, score.per_image.tolist(), changed))
    return results


def main() -> int:
    """Evaluate, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each baseline (default: %(default)s)")
    parser.add_argument("--names", nargs="+", default=["puret", "bita"], choices=["puret", "bita"])
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--print-only", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(evaluate, name, seed) for name in options.names for seed in range(options.seeds)]
        results = [result for job in jobs for result in job.result()]
    rows: list[list[object]] = []
    means = {}
    for name in ("puret_xe", "puret", "bita"):
        if scored := [result for result in results if result.name == name]:
            means[name] = np.mean([result.per_image for result in scored], axis=0)
            seeds = spread([float(np.mean(result.per_image)) for result in scored])
            rows.append([name, cider_with_interval(means[name]), seeds])
    body = table(["baseline", "CIDEr", "seeds"], rows)
    if {"puret_xe", "puret"} <= means.keys():
        gain, low, high = paired_bootstrap(means["puret"], means["puret_xe"])
        body += f"\n\nSelf-critical training adds {gain:.1f} [{low:.1f}, {high:.1f}] to cross-entropy."
    sys.stdout.write(body + "\n")
    if not options.print_only:
        changed = sum(result.changed for result in results)
        beside = in_one_line(baselines_of(read(mini_folder()), "val"))
        facts = [
            measured_by(f"python -m benchmarks.baselines --seeds {options.seeds}") + "; 5 beams",
            f"reloading changes {changed or 'no'} caption{'s' * (changed > 1)}; beside them {beside}",
        ]
        write_section("Baselines (tiny)", facts, body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
