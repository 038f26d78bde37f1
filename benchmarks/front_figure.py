"""The README's picture: a study's trials and its front, CIDEr against latency and parameters.

python -m benchmarks.front_figure runs/pruning-1/front.json docs/front.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

PANELS = (("latency_ms", "latency, ms (batch 1, 5 beams, fixed length)", 1.0), ("params", "parameters, millions", 1e-6))


def main(source: str, target: str) -> int:
    """Draw `target` from the front.json `source`."""
    front = json.loads(Path(source).read_text())
    complete = [t for t in front["trials"] if t["state"] == "complete"]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, (name, label, scale) in zip(axes, PANELS, strict=True):
        for pareto, style in ((False, {"color": "#9aa5b1", "s": 22}), (True, {"color": "#0b62a4", "s": 46})):
            chosen = [t for t in complete if t["pareto"] is pareto]
            x = [scale * t["objectives"][name] for t in chosen]
            axis.scatter(
                x, [t["objectives"]["cider"] for t in chosen], label="front" if pareto else "dominated", **style
            )
        for trial in complete:
            if trial["pareto"]:
                at = scale * trial["objectives"][name], trial["objectives"]["cider"]
                text = trial["name"].split(" r")[0] + (" (knee)" if trial["id"] == front["picks"].get("knee") else "")
                axis.annotate(text, at, xytext=(4, 5), textcoords="offset points", fontsize=8)
        for prior, value in front["floor"].items():
            axis.axhline(value, color="#c0392b", lw=1, ls="--" if prior == "class_prior" else ":")
            axis.annotate(
                prior.replace("_", " "), (1, value), xycoords=("axes fraction", "data"), ha="right", fontsize=8
            )
        axis.set(xlabel=label)
        axis.grid(alpha=0.25)
    axes[0].set(ylabel="CIDEr x100, validation")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.suptitle(
        f"{front['study']}: the embedded default (tiny base, generated data), {len(complete)} finished trials"
    )
    figure.savefig(target, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
