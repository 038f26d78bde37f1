"""Compares rankings: validation loss by LLM depth for each strategy, untuned and after a short training.

    python -m benchmarks.rankings            # tiny on mini; writes docs/rankings.md and docs/rankings.png

All strategies get the same base, data, adapter, recipe and seeds; only the kept layers differ. Losses are in nats a token.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks import report
from benchmarks.bases import worker_on
from benchmarks.figures import pyplot
from rsopt.core.ranking import MEASURED, STRATEGIES, MeasuredRankings, kept_layers, static_ranking

STRATEGY_NAMES = (*STRATEGIES, *MEASURED)


@dataclass(frozen=True, slots=True)
class Losses:
    """Validation losses of one strategy at one depth with one seed, nats a token."""

    strategy: str
    depth: int
    seed: int
    untuned: float
    tuned: float


def measure(strategy: str, order: tuple[int, ...], depths: list[int], seed: int, options: argparse.Namespace) -> list[Losses]:
    """Measure one strategy at all depths with one seed; runs in a process of its own on one core.

    Args:
        strategy: its name.
        order: its LLM layers, first dropped first.
        depths: LLM layers to keep.
        seed: of the training.
        options: of the command.
    """
    import torch

    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec, Variant
    from rsopt.model.build import build
    from rsopt.training.losses import validation_loss
    from rsopt.training.trainer import Trainer
    from rsopt.trial.worker_context import pad_id

    torch.set_num_threads(1)
    worker = worker_on(options.base)
    base = worker.base
    full = Variant.full(base.shape)
    train, val = (worker.training_set(split, full.vision_layers) for split in ("train", "val"))
    recipe = Recipe(lr=options.lr, epochs=options.epochs, batch_images=8)
    losses = []
    for depth in depths:
        lora = LoraSpec(LoraPart(16, 32, "all_linear"))
        built = build(base, Variant(full.vision_layers, full.qformer_layers, kept_layers(order, depth), lora), seed)
        untuned = validation_loss(built.model, val, pad_id(base))
        Trainer(built, train, recipe, seed, pad_id(base)).run(0, 1)
        losses.append(Losses(strategy, depth, seed, untuned, validation_loss(built.model, val, pad_id(base))))
    return losses


def measured_rankings(base: str) -> MeasuredRankings:
    """The base's measured rankings, from the cache or computed now."""
    from rsopt.trial.layer_ranking import measure_rankings

    return measure_rankings(worker_on(base))


def averaged(losses: list[Losses], which: str) -> dict[tuple[str, int], float]:
    """The loss `which` (untuned or tuned) by strategy and depth, averaged over seeds."""
    keys = {(cell.strategy, cell.depth) for cell in losses}
    return {key: mean(getattr(c, which) for c in losses if (c.strategy, c.depth) == key) for key in keys}


def plot(losses: list[Losses], path: Path) -> None:
    """Draw two panels, untuned and tuned, with one line for each strategy."""
    plots = pyplot()
    figure, axes = plots.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, which, title in ((axes[0], "untuned", "untuned"), (axes[1], "tuned", "after a short training")):
        values = averaged(losses, which)
        for style, strategy in zip(("o-", "s-", "^-", "v-", "D--", "P--", "X--"), STRATEGY_NAMES, strict=True):
            points = sorted((depth, loss) for (name, depth), loss in values.items() if name == strategy)
            axis.plot([p[0] for p in points], [p[1] for p in points], style, label=strategy.replace("_", " "))
        axis.set(xlabel="LLM layers kept", ylabel="validation loss, nats a token", title=title)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def table(losses: list[Losses], which: str, head: str, labels: Mapping[str, str], least: int | None = None) -> str:
    """Markdown: one row for each strategy, one column for each depth, the lowest loss of a depth in bold.

    Args:
        losses: of all strategies, depths and seeds.
        which: untuned or tuned.
        head: of the first column.
        labels: of the rows, by strategy.
        least: adds a column with the mean over depths from this one on, and its range over seeds.
    """
    depths = sorted({cell.depth for cell in losses}, reverse=True)
    values = averaged(losses, which)
    lowest = {depth: min(values[name, depth] for name in STRATEGY_NAMES) for depth in depths}
    rows = []
    for name in STRATEGY_NAMES:
        row = [labels[name]]
        row += [f"**{values[name, d]:.3f}**" if values[name, d] == lowest[d] else f"{values[name, d]:.3f}" for d in depths]
        if least is not None:
            chosen = [cell for cell in losses if cell.strategy == name and cell.depth >= least]
            seeds = [mean(getattr(c, which) for c in chosen if c.seed == s) for s in sorted({c.seed for c in chosen})]
            row.append(f"{mean(seeds):.3f} ({min(seeds):.3f}..{max(seeds):.3f})")
        rows.append(row)
    return report.table([head, *map(str, depths), *([f"mean of {least}+"] if least is not None else [])], rows)


def main() -> int:
    """Measure; write and print the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="tiny", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=1.0, help="of the short training (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3e-3, help="its learning rate (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings at each depth (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    options = parser.parse_args()
    begin = time.monotonic()
    rankings = measured_rankings(options.base)
    depth = len(rankings.llm["greedy"])
    orders = {s: static_ranking(s, depth) for s in STRATEGIES} | dict(rankings.llm)
    depths = list(range(depth - 1, depth // 4 - 1, -1))
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [
            pool.submit(measure, strategy, order, depths, seed, options)
            for seed in range(options.seeds)
            for strategy, order in orders.items()
        ]
        losses = [cell for job in jobs for cell in job.result()]
    plot(losses, report.DOCS / "rankings.png")
    text = page(losses, orders, rankings, options)
    (report.DOCS / "rankings.md").write_text(text)
    sys.stdout.write(text + f"\n{time.monotonic() - begin:.0f} s\n")
    return 0


def page(
    losses: list[Losses], orders: Mapping[str, tuple[int, ...]], rankings: MeasuredRankings, options: argparse.Namespace
) -> str:
    """The text of docs/rankings.md."""
    depth = len(next(iter(orders.values())))
    separator = "" if depth <= 10 else ","
    with_orders = {name: f"{name} {separator.join(map(str, order))}" for name, order in orders.items()}
    pairs = sorted((loss, name) for name, loss in rankings.losses.items() if name != "full")
    return (
        f"# Which layers go first: measured on {options.base}\n\n"
        f"Written by `python -m benchmarks.rankings`: generated set, validation loss in nats a token, mean (range) of "
        f"{options.seeds} seeds, LoRA rank 16 on every\nlinear layer of the LLM, {options.epochs:g} "
        f"epoch{'s' * (options.epochs != 1)} at {options.lr:g}. It says nothing about a full-size model.\n\n"
        "![Loss by depth for every strategy](rankings.png)\n\n"
        f"Untuned, by LLM layers kept (all {depth}: {rankings.losses['full']:.3f} on the calibration images). It mostly shows "
        "how sure the base is of its pretraining style and says\nlittle about tuning.\n\n"
        f"{table(losses, 'untuned', 'strategy, first dropped first', with_orders)}\n\n"
        f"After tuning:\n\n{table(losses, 'tuned', 'strategy', {name: name for name in orders}, depth // 2)}\n\n"
        "Q-Former pairs, untuned calibration loss: " + ", ".join(f"{{{name}}} {loss:.4f}" for loss, name in pairs) + ".\n"
    )


if __name__ == "__main__":
    sys.exit(main())
