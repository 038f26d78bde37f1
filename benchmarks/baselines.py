"""Do the tiny baselines beat the floor, and what does self-critical training add? CIDEr over seeds, with intervals.

    python -m benchmarks.baselines --seeds 3

PureT is captioned twice, where cross-entropy ends and after self-critical training of the same weights; paired bootstrap over
validation images between the two, per-image CIDEr averaged over seeds. Writes its section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.report import machine, table, write_section
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap

Result = tuple[
    str, int, list[float], int, str
]  # baseline, seed, CIDEr per image, captions changed by reloading, an example


def evaluate(name: str, seed: int) -> list[Result]:
    """Train one baseline with one seed and caption the validation split by the full protocol, at the end of each stage."""
    import torch
    from transformers.utils import logging

    from rsopt.baselines.factory import make
    from rsopt.baselines.load import reload
    from rsopt.baselines.schedules import plans
    from rsopt.core.inference import BEAMS
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.trial.worker_context import WorkerContext

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    worker = WorkerContext(load_base("tiny"), read(mini_folder()))
    samples = worker.data.split("val")
    captioner = make(name, worker, seed)
    training = captioner.training()
    first = plans(name, tiny=True)[0].steps(training.images) / training.total_steps
    results: list[Result] = []
    done = 0.0
    for label, stop in (("puret_xe", first), ("puret", 1.0)) if name == "puret" else ((name, 1.0),):
        begin = time.process_time()
        training.run(done, stop, lambda: None)
        spent, done = time.process_time() - begin, stop
        captions = captioner.caption("val", 1, BEAMS, 20)
        score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
        sys.stderr.write(f"{label} seed {seed}: CIDEr {score.corpus:.1f}, {spent:.0f} s of processor time\n")
        changed = 0
        if stop == 1.0:
            with tempfile.TemporaryDirectory() as folder:
                captioner.write(Path(folder))
                paths = [s.path for s in samples if s.path is not None]
                again = reload(Path(folder), "tiny")(paths)
            changed = sum(a != b for a, b in zip(captions, again, strict=True))
        results.append((label, seed, score.per_image.tolist(), changed, captions[0]))
    return results


def main() -> int:
    """Evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--names", nargs="+", default=["puret", "bita"], choices=["puret", "bita"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md alone")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(evaluate, name, seed) for name in options.names for seed in range(options.seeds)]
        results = [result for job in jobs for result in job.result()]
    rows: list[list[object]] = []
    mean = {}
    for name in ("puret_xe", "puret", "bita"):
        own = [result for result in results if result[0] == name]
        if own:
            mean[name] = np.mean([per_image for _, _, per_image, _, _ in own], axis=0)
            seeds = ", ".join(f"{np.mean(per_image):.1f}" for _, _, per_image, _, _ in own)
            rows.append([name, *_score(mean[name]), seeds, sum(changed for *_, changed, _ in own)])
    for label, value in _floor().items():
        rows.append([f"floor: {label}", value, "", "", ""])
    text = table(["baseline", "CIDEr", "95 % interval", "seeds", "captions changed by reloading"], rows)
    if {"puret_xe", "puret"} <= mean.keys():
        gain, low, high = paired_bootstrap(mean["puret"], mean["puret_xe"])
        text += f"\n\nSelf-critical training adds {gain:.1f} [{low:.1f}, {high:.1f}] to cross-entropy."
    sys.stdout.write(text + "\n")
    if not options.print_only:
        facts = {
            "command": f"`python -m benchmarks.baselines --seeds {options.seeds}`",
            "machine": machine(),
            "work": "tiny sizes on mini, validation split, 5 beams",
        }
        write_section("Baselines (tiny)", facts, text)
    return 0


def _floor() -> dict[str, float]:
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.scores.reference_points import floor_of

    return {name.replace("_", " "): value for name, value in floor_of(read(mini_folder()), "val").items()}


def _score(per_image: Sequence[float] | np.ndarray) -> tuple[float, str]:
    low, high = bootstrap_interval(per_image)
    return float(np.mean(per_image)), f"{low:.1f} to {high:.1f}"


if __name__ == "__main__":
    sys.exit(main())
