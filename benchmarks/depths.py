"""CIDEr of tiny by the depth of its LLM and Q-Former, with intervals, and paired tests against full depth.

    python -m benchmarks.depths --seeds 3 --qformer

Prints a line for each depth and writes a section of docs/benchmarks.md. Paired bootstrap over validation images; per-image
CIDEr is averaged over seeds.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.bases import worker_on_mini
from benchmarks.report import measured_by, spread, table, with_interval, write_section
from rsopt.core.ranking import kept_layers, kept_qformer_layers, static_ranking
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap


@dataclass(frozen=True, slots=True)
class Scored:
    """CIDEr of one training. `garbage` says why its captions are garbage, or is None."""

    llm: int
    qformer: int
    per_image: list[float]
    garbage: str | None


def evaluate(llm: int, qformer: int, seed: int, tuned: bool, options: argparse.Namespace) -> Scored:
    """Caption the validation split with tiny at one depth, by the full protocol.

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
    worker = worker_on_mini()
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
    samples = worker.data.split("val")
    captions = caption_features(merged(built), base, worker.features("val", variant.vision_layers))
    score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
    reason = garbage(captions, [text for sample in samples for text in sample.references])
    return Scored(llm, qformer, score.per_image.tolist(), reason)


def main() -> int:
    """Evaluate all depths and seeds, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    means = {depth: np.mean([r.per_image for r in scored], axis=0) for depth, scored in by_depth.items()}
    rows: list[list[object]] = []
    for depth, scored in by_depth.items():
        difference, low, high = paired_bootstrap(means[depths[0]], means[depth])
        gap = "" if depth == depths[0] else f"{difference:.1f} [{low:.1f}, {high:.1f}]"
        reason = next((f" ({r.garbage})" for r in scored if r.garbage), "")
        seeds = spread([float(np.mean(r.per_image)) for r in scored])
        rows.append([f"L{depth[0]}/Q{depth[1]}{reason}", cider_with_interval(means[depth]), seeds, gap])
    body = table(["layers", "CIDEr", "seeds", "full depth minus this"], rows)
    sys.stdout.write(body + "\n")
    command = f"python -m benchmarks.depths --seeds {options.seeds} --epochs {options.epochs:g} --rank {options.rank}"
    command += f" --ranking {options.ranking}{' --qformer' if options.qformer else ''}"
    untuned_scores = ", ".join(
        f"L{r.llm}/Q{r.qformer} {cider_with_interval(r.per_image)}" + (f" ({r.garbage})" if r.garbage else "") for r in untuned
    )
    facts = [
        measured_by(command),
        f"LoRA r{options.rank} on all linears of LLM (L) and Q-Former (Q), projection trained, lr {options.lr:g}",
        f"untuned: {untuned_scores}",
    ]
    write_section(f"depth, rank {options.rank}, {options.epochs:g} epochs, {options.ranking} ranking", facts, body)
    return 0


def cider_with_interval(per_image: list[float] | np.ndarray) -> str:
    """Mean CIDEr x100 and its 95 % bootstrap interval over images."""
    return with_interval(float(np.mean(per_image)), *bootstrap_interval(per_image))


if __name__ == "__main__":
    sys.exit(main())
