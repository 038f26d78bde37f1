"""CIDEr of pruned language models with and without a teacher, over seeds; size and time of the teacher's files.

    python -m benchmarks.distillation --seeds 3

Each seed has its own teacher: the full depth tuned with that seed. Prints a line for each setting and writes a section of
docs/benchmarks.md. Paired bootstrap over validation images; per-image CIDEr is averaged over seeds.
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

from benchmarks.bases import worker_on
from benchmarks.depths import cider_with_interval
from benchmarks.report import measured_by, spread, table, write_section
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.ranking import kept_layers, static_ranking
from rsopt.core.recipe import Recipe
from rsopt.core.variant import TARGETS, BaseShape, LoraPart, LoraSpec, Variant
from rsopt.scores.bootstrap import paired_bootstrap

# Setting -> weight of the logits, weight of the hidden states, temperature.
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
    """The leg of a whole training at this depth; the teacher's has the full depth and the setting `tuned alone`.

    Args:
        shape: of the base.
        depth: LLM layers kept.
        seed: of the training.
        setting: a key of SETTINGS.
        options: of the command.
        number: of the candidate.
    """
    part = LoraPart(options.rank, 2 * options.rank, options.targets)
    variant = Variant(
        tuple(range(shape.vision_layers)),
        tuple(range(shape.qformer_layers)),
        kept_layers(static_ranking(options.ranking, shape.llm_layers), depth),
        LoraSpec(part, part, train_projection=options.projection),
    )
    logits, hidden, temperature = SETTINGS[setting]
    recipe = Recipe(
        lr=options.lr,
        epochs=options.epochs,
        batch_images=options.batch,
        distill_logits=logits,
        distill_hidden=hidden,
        distill_temperature=temperature,
    )
    return Leg(number, Candidate(variant, recipe), 0.0, 1.0, seed)


def evaluate(depth: int, seed: int, setting: str, options: argparse.Namespace) -> dict[str, Any]:
    """Tune one variant and caption the validation split by the full protocol. `prepare` must have run for the seed."""
    import torch

    from rsopt.caption.decoders import caption_features
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.model.build import build, merged
    from rsopt.training.losses import validation_loss
    from rsopt.trial.context import TrialContext
    from rsopt.trial.stopwatch import Stopwatch
    from rsopt.trial.teacher import distillation_losses
    from rsopt.trial.trainer_setup import recipe_data, trainer_for
    from rsopt.trial.worker_context import pad_id

    torch.set_num_threads(1)
    worker = worker_on()
    base, shape = worker.base, worker.base.shape
    leg = leg_of(shape, depth, seed, setting, options, number=2)
    built = build(base, leg.candidate.variant, seed)
    data = recipe_data(leg, built, worker)
    teacher = leg_of(shape, shape.llm_layers, seed, ALONE, options)
    losses = None
    if leg.candidate.recipe.distills:
        with TemporaryDirectory() as folder:
            ledger, lock = Ledger(Path(folder) / "ledger"), DeviceLock("teacher", Path(folder))
            stopwatch = Stopwatch(base.device)
            context = TrialContext(leg, worker, Path(folder), ledger, lock, stopwatch, teacher=teacher)
            losses = distillation_losses(context, built, data)
            lock.close()
    begin = time.process_time()
    trainer_for(leg, built, data, worker, losses=losses).run(0, 1)
    seconds = time.process_time() - begin
    samples, model = worker.data.split("val"), merged(built)
    captions = caption_features(model, base, worker.features("val", leg.candidate.variant.vision_layers))
    score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
    val = worker.training_set("val", leg.candidate.variant.vision_layers)
    return {
        "depth": depth,
        "seed": seed,
        "setting": setting,
        "cider": score.per_image.tolist(),
        "val_loss": validation_loss(model, val, pad_id(base)),
        "cpu_s": seconds,
    }


def prepare(seed: int, depths: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """Tune the teacher of a seed and write its files; returns CPU seconds of both and the files' sizes in bytes."""
    import torch

    from rsopt.core.leg_files import STATE, rung_folder
    from rsopt.model.build import build
    from rsopt.training.distillation import cuts
    from rsopt.trial.teacher import TOP, Teacher
    from rsopt.trial.trainer_setup import recipe_data, trainer_for

    torch.set_num_threads(1)
    worker = worker_on()
    shape = worker.base.shape
    order = static_ranking(options.ranking, shape.llm_layers)
    layers = sorted({taught for d in depths for _, taught in cuts(kept_layers(order, d), shape.llm_layers)})
    leg = leg_of(shape, shape.llm_layers, seed, ALONE, options)
    worker.features("train", leg.candidate.variant.vision_layers)
    with TemporaryDirectory() as study:
        begin = time.process_time()
        built = build(worker.base, leg.candidate.variant, seed)
        trainer = trainer_for(leg, built, recipe_data(leg, built, worker), worker)
        trainer.run(leg.start, leg.stop)
        checkpoint = rung_folder(Path(study), leg.number, leg.stop) / STATE
        checkpoint.parent.mkdir(parents=True)
        trainer.save(checkpoint)
        tuned = time.process_time()
        teacher = Teacher(leg, worker, Path(study))  # takes the checkpoint
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
    """Evaluate all settings, depths and seeds; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each setting (default: %(default)s)")
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 4], help="LLM layers kept of 8 (default: 6 4)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="(default: all)")
    parser.add_argument("--epochs", type=float, default=3.0, help="of a training (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3.125e-3, help="learning rate (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--ranking", default="symmetric", help="order of dropped LLM layers (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="of LoRA (default: %(default)s)")
    parser.add_argument("--targets", default="all_linear", choices=TARGETS, help="of LoRA (default: %(default)s)")
    parser.add_argument("--no-projection", dest="projection", action="store_false", help="do not train the projection")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--kept", type=Path, metavar="F", help="JSON lines with finished results; these are not repeated")
    options = parser.parse_args()
    runs = [(8, ALONE), *((depth, s) for depth in options.depths for s in options.settings)]
    lines = options.kept.read_text().splitlines() if options.kept and options.kept.exists() else []
    finished = [json.loads(line) for line in lines]
    files, results = [d for d in finished if "bytes" in d], [d for d in finished if "cider" in d]
    with ProcessPoolExecutor(options.workers) as pool:
        seeds = [s for s in range(options.seeds) if s not in [f["seed"] for f in files]]
        for job in as_completed([pool.submit(prepare, seed, options.depths, options) for seed in seeds]):
            files.append(_keep(job.result(), options))
        present = {(r["depth"], r["seed"], r["setting"]) for r in results}
        missing = [(d, seed, s) for seed in range(options.seeds) for d, s in runs if (d, seed, s) not in present]
        for job in as_completed([pool.submit(evaluate, *run, options) for run in missing]):
            results.append(_keep(job.result(), options))
    body, facts = summary(results, files, runs, options)
    sys.stdout.write(body + "\n")
    heading = f"distillation, rank {options.rank} {options.targets}, {options.epochs:g} epochs, {options.ranking} ranking"
    write_section(heading, facts, body)
    return 0


def _keep(result: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    if options.kept:
        with options.kept.open("a") as out:
            out.write(json.dumps(result) + "\n")
    return result


def summary(
    results: list[dict[str, Any]], files: list[dict[str, Any]], runs: list[tuple[int, str]], options: argparse.Namespace
) -> tuple[str, list[str]]:
    """The table, and the lines above it."""

    def of(depth: int, setting: str) -> list[dict[str, Any]]:
        return [r for r in results if (r["depth"], r["setting"]) == (depth, setting)]

    rows: list[list[object]] = []
    for depth, setting in runs:
        scored = of(depth, setting)
        per_image = np.mean([r["cider"] for r in scored], axis=0)
        gain = ""
        if setting != ALONE:
            alone = np.mean([r["cider"] for r in of(depth, ALONE)], axis=0)
            difference, low, high = paired_bootstrap(per_image, alone)
            gain = f"{difference:+.1f} [{low:.1f}, {high:.1f}]"
        seeds = spread([float(np.mean(r["cider"])) for r in scored])
        loss = f"{np.mean([r['val_loss'] for r in scored]):.3f}"
        name = "full depth, the teacher" if depth == 8 else f"L{depth} {setting}"
        rows.append([name, cider_with_interval(per_image), seeds, gain, loss])
    command = (
        f"python -m benchmarks.distillation --seeds {options.seeds} --epochs {options.epochs:g} --rank {options.rank} "
        f"--targets {options.targets} --ranking {options.ranking}{'' if options.projection else ' --no-projection'}"
    )
    sizes = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in files[0]["bytes"].items())
    cpu_s = {depth: np.mean([r["cpu_s"] for r in results if r["depth"] == depth]) for depth in dict(runs)}
    facts = [
        f"{measured_by(command)}; both parts, lr {options.lr:g}",
        f"teacher's files: {files[0]['targets']} targets; {sizes}; {np.mean([f['tune_s'] for f in files]):.0f} CPU s to tune "
        f"the teacher, {np.mean([f['write_s'] for f in files]):.1f} to query it",
        f"the {files[0]['top']} likeliest tokens keep {100 * np.mean([f['mass'] for f in files]):.2f} % of the probability; "
        "training, CPU s: " + ", ".join(f"{'teacher' if d == 8 else f'L{d}'} {s:.0f}" for d, s in cpu_s.items()),
    ]
    return table(["LLM layers, setting", "CIDEr", "seeds", "against tuned alone", "val loss"], rows), facts


if __name__ == "__main__":
    sys.exit(main())
