"""Is the embedded task real? CIDEr by LLM depth over seeds, with intervals, and paired tests against full depth.

    python -m benchmarks.depths --seeds 3 --qformer

Prints a line a depth and writes its section of docs/benchmarks.md. Paired bootstrap over validation images, per-image CIDEr
averaged over seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.report import machine, table, write_section
from rsopt.core.ranking import kept, kept_pairs, static_ranking
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap

Result = tuple[
    int, int, int, list[float], str | None
]  # LLM layers, Q-Former layers, seed, CIDEr per image, garbage reason


def evaluate(
    llm: int, qformer: int, seed: int, tuned: bool, epochs: float, lr: float, batch: int, ranking: str, rank: int
) -> Result:
    """Tune (or not) one depth with one seed and caption the validation split by the full protocol."""
    import torch

    from rsopt.caption.decoders import caption_features
    from rsopt.caption.degenerate import garbage
    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.model.build import build, merged
    from rsopt.training.trainer import Trainer
    from rsopt.trial.worker_context import WorkerContext, pad_id

    torch.set_num_threads(1)
    base = load_base("tiny")
    worker = WorkerContext(base, read(mini_folder()))
    shape, part = base.shape, LoraPart(rank, 2 * rank, "all_linear")
    groups = static_ranking("alternate", shape.qformer_layers // shape.cross_attention_frequency)
    variant = Variant(
        tuple(range(shape.vision_layers)),
        kept_pairs(groups, qformer, shape.cross_attention_frequency),
        kept(static_ranking(ranking, shape.llm_layers), llm),
        LoraSpec(part, part, train_projection=True) if tuned else None,
    )
    built = build(base, variant, seed)
    if tuned:
        train = worker.training_set("train", variant.vision_layers)
        Trainer(built, train, Recipe(lr=lr, epochs=epochs, batch_images=batch), seed, pad_id(base)).run(0, 1)
    samples = worker.data.split("val")
    captions = caption_features(merged(built), base, worker.features("val", variant.vision_layers))
    score = worker.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
    return llm, qformer, seed, score.per_image.tolist(), garbage(captions, [t for s in samples for t in s.references])


def main() -> int:
    """Evaluate every depth and seed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=3.0, help="of tuning (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3.125e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ranking", default="symmetric", help="which layers go first (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="of LoRA (default: %(default)s)")
    parser.add_argument("--qformer", action="store_true", help="Q-Former depths too")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    recipe = (options.epochs, options.lr, options.batch, options.ranking, options.rank)
    with ProcessPoolExecutor(options.workers) as pool:
        untuned = {llm: pool.submit(evaluate, llm, 6, 0, False, *recipe) for llm in (8, 2)}
        depths = [(llm, 6) for llm in (8, 7, 6, 5, 4)] + ([(8, 4), (8, 2)] if options.qformer else [])
        jobs = [pool.submit(evaluate, *depth, seed, True, *recipe) for depth in depths for seed in range(options.seeds)]
        results = [job.result() for job in jobs]
        base = {llm: job.result() for llm, job in untuned.items()}
    mean = {d: np.mean([r[3] for r in results if r[:2] == d], axis=0) for d in depths}
    rows: list[list[object]] = []
    for llm, result in base.items():
        rows.append([f"L{llm} Q6 untuned", *_score(result[3]), "", "", result[4] or ""])
    for depth in depths:
        seeds = [float(np.mean(r[3])) for r in results if r[:2] == depth]
        garbage = next((r[4] for r in results if r[:2] == depth and r[4]), "")
        difference, low, high = paired_bootstrap(mean[depths[0]], mean[depth])
        gap = "" if depth == depths[0] else f"{difference:.1f} [{low:.1f}, {high:.1f}]"
        name = f"L{depth[0]} Q{depth[1]}"
        rows.append([name, *_score(mean[depth]), ", ".join(f"{s:.1f}" for s in seeds), gap, garbage])
    text = table(["depth", "CIDEr", "95 % interval", "seeds", "full depth minus this", "garbage"], rows)
    sys.stdout.write(text + "\n")
    command = f"python -m benchmarks.depths --seeds {options.seeds} --epochs {options.epochs:g} --rank {options.rank}"
    command += f" --ranking {options.ranking}"
    facts = {
        "command": f"`{command}{' --qformer' if options.qformer else ''}`",
        "machine": machine(),
        "work": f"tiny on mini, validation split; LoRA on all linears of both, projection trained, lr {options.lr:g}",
    }
    write_section(f"depth, rank {options.rank}, {options.epochs:g} epochs, {options.ranking} ranking", facts, text)
    return 0


def _score(per_image: Sequence[float] | np.ndarray) -> tuple[float, str]:
    low, high = bootstrap_interval(per_image)
    return float(np.mean(per_image)), f"{low:.1f} to {high:.1f}"


if __name__ == "__main__":
    sys.exit(main())
