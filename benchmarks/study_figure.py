"""Draws the pictures of docs/study.md from a comparison as JSON.

python -m search.compare --name S --json > compare.json
python -m benchmarks.study_figure compare.json docs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import pyplot
from rsopt.core.baseline import BLIND, baselines_from_json

PARTS = {"vision": "#0b62a4", "qformer": "#c0392b", "llm": "#7f8c8d"}
NAMES = {"vision": "vision tower", "qformer": "Q-Former", "llm": "LLM"}
KINDS = {" best layers": ("better layers kept", "#0b62a4"), " distilled": ("and a teacher", "#1e8449")}


def main() -> int:
    """Draw study-parts.png, study-scores.png and study-losses.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="JSON of search.compare")
    parser.add_argument("folder", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    comparison = json.loads(options.source.read_text())
    rows = [row["here"] for row in comparison["table"] if row["here"]["state"] != "missing"] + comparison["others"]
    for name, draw in (("parts", parts), ("scores", scores), ("losses", losses)):
        figure = draw(comparison, rows)
        figure.savefig(options.folder / f"study-{name}.png", dpi=120)
    return 0


def parts(comparison: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """Draw the parts' shares of parameters, compute and time: at full size (exact counts) and measured."""
    full = next(row["full_size"] for row in comparison["table"] if row["name"] == "zero-shot")
    here = next(row for row in rows if row["name"] == "zero-shot")
    bars = [("parameters\nfull size", full["params"]), ("GMAC\nfull size", full["gmacs"])]
    bars += [(f"parameters\n{comparison['base']}", here["params"]), (f"GMAC\n{comparison['base']}", here["gmacs"])]
    if "tokens" in here["latency"]:
        parts_ms = here["latency"]
        time = {part: parts_ms[part] for part in ("vision", "qformer")} | {"llm": parts_ms["prefill"] + parts_ms["tokens"]}
        bars.append((f"time\n{comparison['base']}", time))
    figure, axis = pyplot().subplots(figsize=(8, 3.6), layout="constrained")
    for at, (_, values) in enumerate(bars):
        low, total = 0.0, sum(values[part] for part in PARTS)
        for part, colour in PARTS.items():
            share = 100 * values[part] / total
            axis.bar(at, share, bottom=low, color=colour, label=NAMES[part] if at == 0 else None)
            if share > 4:
                axis.text(at, low + share / 2, f"{share:.0f} %", ha="center", va="center", color="white", fontsize=8)
            low += share
    axis.set(xticks=range(len(bars)), xticklabels=[label for label, _ in bars], ylabel="share, %")
    axis.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1.2, 1))
    return figure


def scores(comparison: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """Draw the CIDEr of all rows with intervals, and the baselines."""
    chosen = [row for row in rows if "cider" in row["metrics"]]
    figure, axis = pyplot().subplots(figsize=(9, 0.28 * len(chosen) + 1.2), layout="constrained")
    for at, row in enumerate(reversed(chosen)):
        low, high = row["intervals"]["cider"]
        colour = next((c for end, (_, c) in KINDS.items() if end in row["name"]), "#444444")
        axis.plot([low, high], [at, at], color=colour, lw=2)
        axis.plot(row["metrics"]["cider"], at, "o", color=colour)
    for name, score in baselines_from_json(comparison).items():
        axis.axvline(score.cider, color="#c0392b", lw=1, ls="--" if name in BLIND else ":")
        axis.annotate(name, (score.cider, len(chosen) - 0.4), fontsize=8, color="#c0392b")
    axis.set(yticks=range(len(chosen)), xlabel=f"CIDEr x100 on {comparison['data']}, 95 % interval over images")
    axis.set_yticklabels([row["name"] for row in reversed(chosen)], fontsize=8)
    axis.set_title(f"Rows of the study over `{comparison['base']}`, not over BLIP-2", fontsize=10)
    axis.grid(alpha=0.25, axis="x")
    return figure


def losses(comparison: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """Draw training and validation loss by step of six rows."""
    names = ("LoRA LLM", "LoRA Q-Former", "LoRA both", "Q8 both", "LLM24", "LLM28+Q8")
    chosen = [row for name in names for row in rows if row["name"] == name and row["curve"]]
    figure, axes = pyplot().subplots(2, 3, figsize=(9, 4.4), sharex=True, sharey=True, layout="constrained")
    for axis, row in zip(axes.flat, chosen, strict=False):
        for kind, colour in (("train", "#9aa5b1"), ("val", "#c0392b")):
            axis.plot(
                *zip(*row["curve"][kind], strict=True), color=colour, label={"train": "training", "val": "validation"}[kind]
            )
        axis.set_title(f"{row['name']}: {row['state']}", fontsize=9)
        axis.grid(alpha=0.25)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("step (batches of 4 pairs)", fontsize=9)
    figure.supylabel("nats a token", fontsize=9)
    return figure


if __name__ == "__main__":
    sys.exit(main())
