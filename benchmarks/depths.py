"""CIDEr of a base by the depth of its LLM and Q-Former, with intervals, and paired tests against full depth.

    python -m benchmarks.depths --seeds 3 --qformer
    python -m benchmarks.depths --base BASE --data FOLDER    # a base of tiny's shape, from rsopt.pretrain --data FOLDER

Prints a line for each depth and writes a section of docs/benchmarks.md. Paired bootstrap over the images of a split; per-image
CIDEr is averaged over seeds.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bases import worker_on
from benchmarks.report import measured_by, spread, table, with_interval, write_section
from rsopt.core.ranking import kept_layers, kept_qformer_layers, static_ranking
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap

SPLITS = ("val", "test")


@dataclass(frozen=True, slots=True)
class Scored:
    """CIDEr of one training by split, and how many distinct captions it wrote. `garbage`: why they are garbage, or None."""

    llm: int
    qformer: int
    per_image: dict[str, list[float]]
    distinct: dict[str, int]
    garbage: str | None


def evaluate(llm: int, qformer: int, seed: int, tuned: bool, options: argparse.Namespace) -> Scored:
    """Caption the validation and test splits at one depth, by the full protocol.

    Args:
        llm: layers kept.
        qformer: layers kept.
        seed: of the training.
        tuned: train before captioning.
        options: of the command.
    """
    import torch

    from rsopt.caption.decoders import caption_features
    from rsopt.caption.degenerate import garbage
    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.model.build import build, merged
    from rsopt.training.trainer import Trainer
    from rsopt.trial.worker_context import pad_id

    torch.set_num_threads(1)
    worker = worker_on(options.base, options.data)
    base, shape = worker.base, worker.base.shape
    part = LoraPart(options.rank, 2 * options.rank, "all_linear")
    groups = static_ranking("alternate", shape.qformer_layers // shape.cross_attention_frequency)
    variant = Variant(
        tuple(range(shape.vision_layers)),
        kept_qformer_layers(groups, qformer, shape.cross_attention_frequency),
        kept_layers(static_ranking(options.ranking, shape.llm_layers), llm),
        LoraSpec(part, part, train_projection=True) if tuned else None,
    )
    built = build(base, variant, seed)
    if tuned:
        train = worker.training_set("train", variant.vision_layers)
        recipe = Recipe(lr=options.lr, epochs=options.epochs, batch_images=options.batch)
        Trainer(built, train, recipe, seed, pad_id(base)).run(0, 1)
    captioner, per_image, distinct, reason = merged(built), {}, {}, None
    for split in SPLITS:
        samples = worker.data.split(split)
        captions = caption_features(captioner, base, worker.features(split, variant.vision_layers))
        answers = {s.image_id: c for s, c in zip(samples, captions, strict=True)}
        per_image[split] = worker.scorer(split).cider(answers).per_image.tolist()
        distinct[split] = len(set(captions))
        reason = reason or garbage(captions, [text for sample in samples for text in sample.references])
    return Scored(llm, qformer, per_image, distinct, reason)


def main() -> int:
    """Evaluate all depths and seeds, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="tiny", help="base of tiny's shape (default: %(default)s)")
    parser.add_argument("--data", help="data set (default: the generated one)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each depth (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=3.0, help="of a training (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3.125e-3, help="learning rate (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--ranking", default="symmetric", help="order of dropped LLM layers (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="of LoRA (default: %(default)s)")
    parser.add_argument("--qformer", action="store_true", help="also vary the depth of the Q-Former")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        untuned_jobs = [pool.submit(evaluate, llm, 6, 0, False, options) for llm in (8, 2)]
        depths = [(llm, 6) for llm in (8, 7, 6, 5, 4)] + ([(8, 4), (8, 2)] if options.qformer else [])
        jobs = [pool.submit(evaluate, *depth, seed, True, options) for depth in depths for seed in range(options.seeds)]
        results, untuned = [job.result() for job in jobs], [job.result() for job in untuned_jobs]
    by_depth = {depth: [r for r in results if (r.llm, r.qformer) == depth] for depth in depths}
    rows: list[list[object]] = []
    for depth, scored in by_depth.items():
        reason = next((f" ({r.garbage})" for r in scored if r.garbage), "")
        row: list[object] = [f"L{depth[0]}/Q{depth[1]}{reason}"]
        for split in SPLITS:
            full, mean = (np.mean([r.per_image[split] for r in by_depth[d]], axis=0) for d in (depths[0], depth))
            gap = "" if depth == depths[0] else with_interval(*paired_bootstrap(full, mean))
            seeds = spread([float(np.mean(r.per_image[split])) for r in scored])
            distinct = "..".join(str(f(r.distinct[split] for r in scored)) for f in (min, max))
            row += [cider_with_interval(mean), seeds, gap, distinct]
        rows.append(row)
    columns = [
        f"{split}: {name}" for split in SPLITS for name in ("CIDEr", "seeds", "full depth minus this", "distinct captions")
    ]
    body = table(["layers", *columns], rows)
    sys.stdout.write(body + "\n")
    own = options.data is not None
    command = f"python -m benchmarks.depths{' --base BASE --data FOLDER' if own else ''} --seeds {options.seeds}"
    command += f" --epochs {options.epochs:g} --rank {options.rank} --ranking {options.ranking}"
    command += " --qformer" if options.qformer else ""
    untuned_scores = ", ".join(
        f"L{r.llm}/Q{r.qformer} {cider_with_interval(r.per_image['val'])}" + (f" ({r.garbage})" if r.garbage else "")
        for r in untuned
    )
    facts = [
        measured_by(command),
        f"LoRA r{options.rank} on all linears of LLM (L) and Q-Former (Q), projection trained, lr {options.lr:g}",
        f"untuned, val: {untuned_scores}",
    ]
    subject = f"depth on {Path(options.data).name}" if own else "depth"
    write_section(f"{subject}, rank {options.rank}, {options.epochs:g} epochs, {options.ranking} ranking", facts, body)
    return 0


def cider_with_interval(per_image: list[float] | np.ndarray) -> str:
    """Mean CIDEr x100 and its 95 % bootstrap interval over images."""
    return with_interval(float(np.mean(per_image)), *bootstrap_interval(per_image))


if __name__ == "__main__":
    sys.exit(main())
