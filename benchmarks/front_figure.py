"""Draws the README's picture: a study's trials and its front, CIDEr against latency and parameters.

python -m benchmarks.front_figure runs/pruning-1/front.json docs/front.png
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.figures import pyplot
from rsopt.core.baseline import BLIND
from search.results.front import Front

PANELS = (("latency_ms", "latency, ms (batch 1, 5 beams, fixed length)", 1.0), ("params", "parameters, millions", 1e-6))


def main() -> int:
    """Read a front.json and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="front.json of a study")
    parser.add_argument("target", type=Path, help="picture to write")
    options = parser.parse_args()
    front = Front.from_json(json.loads(options.source.read_text()))
    figure, axes = pyplot().subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, (name, label, scale) in zip(axes, PANELS, strict=True):
        for pareto, style in ((False, {"color": "#9aa5b1", "s": 22}), (True, {"color": "#0b62a4", "s": 46})):
            points = [t.objectives for t in front.finished if t.pareto is pareto]
            x, y = [scale * values[name] for values in points], [values["cider"] for values in points]
            axis.scatter(x, y, label="front" if pareto else "dominated", **style)
        for member in front.members:
            at = scale * member.objectives[name], member.objectives["cider"]
            text = member.name.split(" r")[0] + (" (knee)" if "knee" in front.picks_of(member.id) else "")
            axis.annotate(text, at, xytext=(4, 5), textcoords="offset points", fontsize=8)
        for baseline, score in front.baselines.items():
            axis.axhline(score.cider, color="#c0392b", lw=1, ls="--" if baseline in BLIND else ":")
            axis.annotate(baseline, (1, score.cider), xycoords=("axes fraction", "data"), ha="right", fontsize=8)
        axis.set(xlabel=label)
        axis.grid(alpha=0.25)
    axes[0].set(ylabel="CIDEr x100, validation")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.suptitle(f"{front.study}: the embedded default (tiny base, generated data), {len(front.finished)} finished trials")
    figure.savefig(options.target, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main())
