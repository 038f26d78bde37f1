"""Which ranking serves best? Validation loss by LLM depth for every strategy, untuned and after a short tuning.

    python -m benchmarks.rankings            # tiny on mini; writes docs/rankings.md and docs/rankings.png

Every strategy gets the same base, data, adapter, recipe and seeds; only the kept layers differ. Caption loss in nats a token.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean

from rsopt.core.ranking import MEASURED, STRATEGIES, MeasuredRankings, kept, static_ranking

DOCS = Path(__file__).parents[1] / "docs"
ALL = (*STRATEGIES, *MEASURED)
Cell = tuple[str, int, int, float, float]  # strategy, depth, seed, loss untuned, loss tuned


def measure(
    base_name: str, strategy: str, order: tuple[int, ...], depths: list[int], seed: int, epochs: float, lr: float
) -> list[Cell]:
    """Losses of one strategy at each depth with one seed; runs in a process of its own, on one core."""
    import torch

    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.model.build import build
    from rsopt.training.losses import validation_loss
    from rsopt.training.trainer import Trainer
    from rsopt.trial.worker_context import WorkerContext, pad_id

    torch.set_num_threads(1)
    base = load_base(base_name)
    worker = WorkerContext(base, read(mini_folder()))
    full = Variant.full(base.shape)
    train, val = (worker.training_set(split, full.vision_layers) for split in ("train", "val"))
    cells = []
    for depth in depths:
        lora = LoraSpec(LoraPart(16, 32, "all_linear"))
        built = build(base, Variant(full.vision_layers, full.qformer_layers, kept(order, depth), lora), seed)
        untuned = validation_loss(built.model, val, pad_id(base))
        Trainer(built, train, Recipe(lr=lr, epochs=epochs, batch_images=8), seed, pad_id(base)).run(0, 1)
        cells.append((strategy, depth, seed, untuned, validation_loss(built.model, val, pad_id(base))))
    return cells


def rankings_of(base_name: str) -> MeasuredRankings:
    """Measured rankings, from the cache or scored now."""
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.trial.layer_ranking import measure_rankings
    from rsopt.trial.worker_context import WorkerContext

    return measure_rankings(WorkerContext(load_base(base_name), read(mini_folder())))


def averaged(cells: list[Cell], column: int) -> dict[tuple[str, int], float]:
    """Loss in `column` by (strategy, depth), averaged over the seeds."""
    keys = {(c[0], c[1]) for c in cells}
    return {key: mean(float(c[column]) for c in cells if (c[0], c[1]) == key) for key in keys}


def plot(cells: list[Cell], path: Path) -> None:
    """Two panels, untuned and tuned; one line a strategy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, column, title in ((axes[0], 3, "untuned"), (axes[1], 4, "after a short tuning")):
        value = averaged(cells, column)
        for style, strategy in zip(("o-", "s-", "^-", "v-", "D--", "P--", "X--"), ALL, strict=True):
            points = sorted((depth, loss) for (name, depth), loss in value.items() if name == strategy)
            axis.plot([p[0] for p in points], [p[1] for p in points], style, label=strategy.replace("_", " "))
        axis.set(xlabel="LLM layers kept", ylabel="validation loss, nats a token", title=title)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def table(cells: list[Cell], column: int, least: int) -> str:
    """Markdown: a row a strategy, a column a depth, the best of each depth in bold.

    Last column: the mean over depths from `least` on, with its lowest and highest seed.
    """
    depths = sorted({c[1] for c in cells}, reverse=True)
    value = averaged(cells, column)
    lines = [f"| strategy | {' | '.join(map(str, depths))} | mean of {least} and more (seeds) |"]
    lines.append("|---" * (len(depths) + 2) + "|")
    for strategy in ALL:
        row = []
        for depth in depths:
            text = f"{value[strategy, depth]:.3f}"
            best = min(value[s, depth] for s in ALL)
            row.append(f"**{text}**" if value[strategy, depth] == best else text)
        seeds = [
            mean(float(c[column]) for c in cells if c[0] == strategy and c[1] >= least and c[2] == seed)
            for seed in sorted({c[2] for c in cells})
        ]
        row.append(f"{mean(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})")
        lines.append(f"| {strategy} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure, write the table and the plot, print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--epochs", type=float, default=1.0, help="length of the short tuning (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3e-3, help="its learning rate (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="tunings of each cell (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    begin = time.monotonic()
    measured = rankings_of(options.base)
    depth = len(measured.llm["greedy"])
    orders = {s: static_ranking(s, depth) for s in STRATEGIES} | dict(measured.llm)
    depths = list(range(depth - 1, depth // 4 - 1, -1))
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [
            pool.submit(measure, options.base, s, order, depths, seed, options.epochs, options.lr)
            for seed in range(options.seeds)
            for s, order in orders.items()
        ]
        cells = [cell for job in jobs for cell in job.result()]
    plot(cells, DOCS / "rankings.png")
    pairs = {k: round(v, 4) for k, v in sorted(measured.losses.items(), key=lambda item: item[1])}
    half = depth // 2
    text = (
        "# Which layers go first: measured on tiny\n\n"
        "Written by `python -m benchmarks.rankings`: the tiny base on the generated set, validation loss in nats a token, "
        f"mean of {options.seeds} seeds; LoRA rank 16 on every linear layer of the LLM, {options.epochs:g} epoch(s) at "
        f"{options.lr:g}. It says nothing about a full-size model.\n\n"
        "![Validation loss by depth for every strategy](rankings.png)\n\n"
        f"Untuned (all {depth} layers: {measured.losses['full']:.3f} on the calibration images). The base was pretrained on "
        "captions of another style, so untuned loss is mostly how sure it is of that style: it can fall when layers go, and "
        f"says little about what tuning will make of them.\n\n{table(cells, 3, half)}\n\n"
        f"After the short tuning:\n\n{table(cells, 4, half)}\n\n"
        "Orders, first dropped first: " + "; ".join(f"{s} {list(o)}" for s, o in orders.items()) + ".\n\n"
        f"Q-Former pairs, calibration loss of each subset, untuned: {json.dumps(pairs)}.\n"
    )
    (DOCS / "rankings.md").write_text(text)
    sys.stdout.write(text + f"\n{time.monotonic() - begin:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
