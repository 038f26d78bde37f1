"""Is the embedded task real? CIDEr by LLM depth over seeds, with intervals, and paired tests against full depth.

    python -m benchmarks.depths --seeds 3

Prints a table and one JSON line. Paired bootstrap over validation images, per-image CIDEr averaged over seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from rsopt.ranking import kept, kept_pairs, static_ranking
from rsopt.scores.bootstrap import bootstrap_interval, paired_bootstrap

Result = tuple[
    int, int, int, list[float], str | None
]  # LLM layers, Q-Former layers, seed, CIDEr per image, garbage reason


def evaluate(
    llm: int, qformer: int, seed: int, tuned: bool, epochs: float, lr: float, batch: int, ranking: str
) -> Result:
    """Tune (or not) one depth with one seed and caption the validation split by the full protocol."""
    import torch

    from rsopt.base import load_base
    from rsopt.build import build, merged
    from rsopt.caption import caption_features, garbage
    from rsopt.data.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.recipe import Recipe
    from rsopt.resident import Resident, pad_id
    from rsopt.train import Trainer
    from rsopt.variant import LoraPart, LoraSpec, Variant

    torch.set_num_threads(1)
    base = load_base("tiny")
    resident = Resident(base, read(mini_folder()))
    shape, part = base.shape, LoraPart(16, 32, "all_linear")
    groups = static_ranking("alternate", shape.qformer_layers // shape.cross_attention_frequency)
    variant = Variant(
        tuple(range(shape.vision_layers)),
        kept_pairs(groups, qformer, shape.cross_attention_frequency),
        kept(static_ranking(ranking, shape.llm_layers), llm),
        LoraSpec(part, part, train_projection=True) if tuned else None,
    )
    built = build(base, variant, seed)
    if tuned:
        train = resident.training_set("train", variant.vision_layers)
        Trainer(built, train, Recipe(lr=lr, epochs=epochs, batch_images=batch), seed, pad_id(base)).run(0, 1)
    samples = resident.data.split("val")
    captions = caption_features(merged(built), base, resident.features("val", variant.vision_layers))
    score = resident.scorer("val").cider({s.image_id: c for s, c in zip(samples, captions, strict=True)})
    return llm, qformer, seed, score.per_image.tolist(), garbage(captions, [t for s in samples for t in s.references])


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 1) if isinstance(value, float) else value


def main() -> int:
    """Evaluate every depth and seed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--lr", type=float, default=3.125e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ranking", default="prefix")
    parser.add_argument("--qformer", action="store_true", help="Q-Former depths too")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    recipe = (options.epochs, options.lr, options.batch, options.ranking)
    with ProcessPoolExecutor(options.workers) as pool:
        untuned = {llm: pool.submit(evaluate, llm, 6, 0, False, *recipe) for llm in (8, 2)}
        depths = [(llm, 6) for llm in (8, 7, 6, 5, 4)] + ([(8, 4), (8, 2)] if options.qformer else [])
        jobs = [pool.submit(evaluate, *depth, seed, True, *recipe) for depth in depths for seed in range(options.seeds)]
        results = [job.result() for job in jobs]
        base = {llm: job.result() for llm, job in untuned.items()}
    mean = {d: np.mean([r[3] for r in results if r[:2] == d], axis=0) for d in depths}
    rows: list[dict[str, Any]] = []
    for llm, result in base.items():
        low, high = bootstrap_interval(result[3])
        rows.append(
            {
                "depth": f"L{llm} Q6 untuned",
                "cider": float(np.mean(result[3])),
                "interval": [low, high],
                "garbage": result[4],
            }
        )
    for depth in depths:
        seeds = [float(np.mean(r[3])) for r in results if r[:2] == depth]
        difference, low, high = paired_bootstrap(mean[depths[0]], mean[depth])
        rows.append(
            {
                "depth": f"L{depth[0]} Q{depth[1]}",
                "cider": float(np.mean(seeds)),
                "seeds": seeds,
                "interval": list(bootstrap_interval(mean[depth])),
                "full_minus_this": [difference, low, high],
            }
        )
    for row in rows:
        sys.stdout.write(json.dumps({name: _rounded(value) for name, value in row.items()}) + "\n")
    sys.stdout.write(
        json.dumps({"recipe": recipe, "machine": platform.processor() or platform.machine(), "rows": rows}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
