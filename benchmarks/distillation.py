"""Does a teacher help? CIDEr of pruned language models tuned alone and taught, over seeds; size and time of the teacher's files.

    python -m benchmarks.distillation --seeds 3

Each seed is a study of its own: its teacher is the full depth tuned with that seed. It prints a line a setting and writes its
section of docs/benchmarks.md. Paired bootstrap over validation images, per-image CIDEr averaged over seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.report import machine, table, write_section
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.ranking import kept, static_ranking
from rsopt.core.recipe import Recipe
from rsopt.core.variant import TARGETS, BaseShape, LoraPart, LoraSpec, Variant
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap

# logits, hidden, temperature
SETTINGS = {
    "tuned alone": (0.0, 0.0, 1.0),
    "logits": (1.0, 0.0, 1.0),
    "logits, temperature 2": (1.0, 0.0, 2.0),
    "hidden": (0.0, 1.0, 1.0),
    "logits and hidden": (1.0, 1.0, 1.0),
    "logits 3, hidden 1, temperature 2": (3.0, 1.0, 2.0),
}
ALONE = "tuned alone"


def leg_of(shape: BaseShape, depth: int, seed: int, setting: str, options: argparse.Namespace, number: int = 1) -> Leg:
    """A whole training at this depth; the teacher's is that of the full depth, alone."""
    part = LoraPart(options.rank, 2 * options.rank, options.targets)
    variant = Variant(
        tuple(range(shape.vision_layers)),
        tuple(range(shape.qformer_layers)),
        kept(static_ranking(options.ranking, shape.llm_layers), depth),
        LoraSpec(part, part, train_projection=options.projection),
    )
    logits, hidden, temperature = SETTINGS[setting]
    recipe = Recipe(lr=options.lr, epochs=options.epochs, batch_images=options.batch)
    taught = Recipe(recipe.lr, recipe.epochs, recipe.batch_images, distill_logits=logits, distill_hidden=hidden)
    if setting != ALONE:
        taught = Recipe(**{**_fields(taught), "distill_temperature": temperature})
    return Leg(number, Candidate(variant, taught), 0.0, 1.0, seed)


def _fields(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__slots__}


def evaluate(depth: int, seed: int, setting: str, options: argparse.Namespace) -> dict[str, Any]:
    """Tune one variant and caption the validation split by the full protocol. Asked first, the teacher's files are made."""
    import torch

    from rsopt.caption.decoders import caption_features
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.model.build import build, merged
    from rsopt.training.losses import validation_loss
    from rsopt.trial.teacher import taught_losses
    from rsopt.trial.trainer_setup import trainer_for, tuning_set
    from rsopt.trial.worker_context import WorkerContext, pad_id

    torch.set_num_threads(1)
    worker = WorkerContext(load_base("tiny"), read(mini_folder()))
    base, shape = worker.base, worker.base.shape
    leg = leg_of(shape, depth, seed, setting, options, number=2)
    built = build(base, leg.candidate.variant, seed)
    data = tuning_set(leg, built, worker)
    teacher = leg_of(shape, shape.llm_layers, seed, ALONE, options)
    losses = None
    if leg.candidate.recipe.distills:
        with TemporaryDirectory() as nowhere:
            losses = taught_losses(leg, built, data, worker, Path(nowhere), teacher, lambda: None)
    begin = time.process_time()
    trainer_for(leg, built, data, worker, losses=losses).run(0, 1)
    seconds = time.process_time() - begin
    samples, plain = worker.data.split("val"), merged(built)
    captions = caption_features(plain, base, worker.features("val", leg.candidate.variant.vision_layers))
    score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
    val = worker.training_set("val", leg.candidate.variant.vision_layers)
    return {
        "depth": depth,
        "seed": seed,
        "setting": setting,
        "cider": score.per_image.tolist(),
        "val_loss": validation_loss(plain, val, pad_id(base)),
        "cpu_s": seconds,
    }


def prepare(seed: int, depths: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """The teacher of a seed: its files made, with their bytes, and CPU seconds of tuning it and of writing them."""
    import torch

    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.training.distillation import cuts
    from rsopt.trial.teacher import TOP, Teacher
    from rsopt.trial.worker_context import WorkerContext

    torch.set_num_threads(1)
    worker = WorkerContext(load_base("tiny"), read(mini_folder()))
    shape = worker.base.shape
    order = static_ranking(options.ranking, shape.llm_layers)
    layers = sorted({taught for d in depths for _, taught in cuts(kept(order, d), shape.llm_layers)})
    leg = leg_of(shape, shape.llm_layers, seed, ALONE, options)
    worker.features("train", leg.candidate.variant.vision_layers)
    with TemporaryDirectory() as nowhere:
        teacher = Teacher(leg, worker, Path(nowhere))
        teacher.folder.mkdir(parents=True, exist_ok=True)
        begin = time.process_time()
        _ = teacher._tuned
        tuned = time.process_time()
        answers = teacher.answers(layers)
        written = time.process_time()
    return {
        "seed": seed,
        "tune_s": tuned - begin,
        "write_s": written - tuned,
        "targets": len(answers.ids),
        "mass": float(np.exp(answers.log_p.astype(np.float64)).sum(1).mean()),
        "top": TOP,
        "layers": layers,
        "bytes": {path.name: path.stat().st_size for path in sorted(teacher.folder.glob("*.npy"))},
    }


def main() -> int:
    """Evaluate every setting, depth and seed; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 4], help="LLM layers kept of 8 (default: 6 4)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--epochs", type=float, default=3.0, help="of tuning (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3.125e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ranking", default="symmetric", help="which layers go first (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="of LoRA (default: %(default)s)")
    parser.add_argument("--targets", default="all_linear", choices=TARGETS)
    parser.add_argument("--no-projection", dest="projection", action="store_false", help="leave the projection alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kept", type=Path, metavar="F", help="results a line each: what is there is not done again")
    options = parser.parse_args()
    runs = [(8, ALONE), *((depth, s) for depth in options.depths for s in options.settings)]
    lines = options.kept.read_text().splitlines() if options.kept and options.kept.exists() else []
    done = [json.loads(line) for line in lines]
    files, results = [d for d in done if "bytes" in d], [d for d in done if "cider" in d]
    with ProcessPoolExecutor(options.workers) as pool:
        seeds = [s for s in range(options.seeds) if s not in [f["seed"] for f in files]]
        for job in as_completed([pool.submit(prepare, seed, options.depths, options) for seed in seeds]):
            files.append(_keep(job.result(), options))
        there = {(r["depth"], r["seed"], r["setting"]) for r in results}
        wanted = [(d, seed, s) for seed in range(options.seeds) for d, s in runs if (d, seed, s) not in there]
        for job in as_completed([pool.submit(evaluate, *one, options) for one in wanted]):
            results.append(_keep(job.result(), options))
    text, facts = summary(results, files, runs, options)
    sys.stdout.write(text + "\n")
    heading = (
        f"distillation, rank {options.rank} {options.targets}, {options.epochs:g} epochs, {options.ranking} ranking"
    )
    write_section(heading, facts, text)
    return 0


def _keep(result: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    if options.kept:
        with options.kept.open("a") as out:
            out.write(json.dumps(result) + "\n")
    return result


def summary(
    results: list[dict[str, Any]],
    files: list[dict[str, Any]],
    runs: list[tuple[int, str]],
    options: argparse.Namespace,
) -> tuple[str, dict[str, object]]:
    """The table, and the facts above it."""

    def of(depth: int, setting: str) -> list[dict[str, Any]]:
        return [r for r in results if (r["depth"], r["setting"]) == (depth, setting)]

    rows: list[list[object]] = []
    for depth, setting in runs:
        own = of(depth, setting)
        images = np.mean([r["cider"] for r in own], axis=0)
        low, high = bootstrap_interval(images)
        gain = ""
        if setting != ALONE:
            alone = np.mean([r["cider"] for r in of(depth, ALONE)], axis=0)
            difference, least, most = paired_bootstrap(images, alone)
            gain = f"{difference:+.1f} [{least:.1f}, {most:.1f}]"
        seeds = ", ".join(f"{np.mean(r['cider']):.1f}" for r in own)
        loss = float(np.mean([r["val_loss"] for r in own]))
        cpu = float(np.mean([r["cpu_s"] for r in own]))
        name = "full depth, the teacher" if depth == 8 else f"L{depth} {setting}"
        rows.append(
            [name, f"{images.mean():.1f}", f"{low:.1f} to {high:.1f}", seeds, gain, f"{loss:.3f}", f"{cpu:.0f}"]
        )
    head = [
        "LLM layers, setting",
        "CIDEr",
        "95 % interval",
        "seeds",
        "against tuned alone",
        "val loss",
        "CPU s of training",
    ]
    one = files[0]
    command = (
        f"python -m benchmarks.distillation --seeds {options.seeds} --epochs {options.epochs:g} --rank {options.rank}"
    )
    command += f" --targets {options.targets} --ranking {options.ranking}"
    facts: dict[str, object] = {
        "command": f"`{command}{'' if options.projection else ' --no-projection'}`",
        "machine": machine(),
        "work": f"tiny on mini, validation split; LoRA on {options.targets} of both, lr {options.lr:g}",
        "teacher's files": f"{one['targets']} targets; "
        + ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in one["bytes"].items()),
        "making them": f"{np.mean([f['tune_s'] for f in files]):.0f} CPU s to tune the teacher (where the study's own "
        f"is there, it is taken), {np.mean([f['write_s'] for f in files]):.1f} to ask it and write",
        "kept probability": f"{100 * np.mean([f['mass'] for f in files]):.2f} % in the {one['top']} likeliest tokens",
    }
    return table(head, rows), facts


if __name__ == "__main__":
    sys.exit(main())
