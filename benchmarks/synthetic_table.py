"""Makes a table for `search.simulate` from a formula, for tests and to try searchers without recorded trainings.

Run from the repository root: python -m benchmarks.synthetic_table OUT.json.gz [--space FILE.yaml] [--seed 0]. In the formula
dropped layers cost quality, the best learning rate depends on depth, curves cross, and there is noise. It says nothing about
captioners.
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rsopt.core.candidate import Candidate
from rsopt.core.variant import BaseShape
from search.simulation.recording import TABLES, Row, save_recording
from search.space.bound_space import BoundSpace
from search.space.load import load_space

SHAPE = BaseShape(4, 6, 8, 2, 128)
TRAIN_IMAGES = 256


def curve(params: dict[str, Any], shape: BaseShape, rungs: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    """CIDEr x100 at each rung."""
    dropped = 1 - params["llm_layers"] / shape.llm_layers
    dropped_q = 1 - params["qformer_layers"] / shape.qformer_layers
    steep = {"alternate": 1.6, "symmetric": 1.2, "keep_last": 2.0, "prefix": 2.4}[params.get("ranking", "alternate")]
    quality = math.exp(-steep * dropped**1.7) * math.exp(-0.35 * dropped_q**1.5)
    quality *= {"llm": 0.93, "qformer": 0.85, "both": 1.0}[params.get("lora", "both")]
    quality *= {"qk": 0.93, "qkvo": 0.98, "all_linear": 1.0}.get(params.get("llm_targets", "qkvo"), 0.98)
    rate = math.log10(params.get("lr_factor", 1.0))
    best = 0.05 + 0.5 * dropped - 0.12 * (params.get("llm_targets") == "all_linear")
    quality *= 0.35 + 0.65 * math.exp(-((rate - best) ** 2) / (2 * 0.3**2))
    if "llm_rank" in params:
        quality *= 1 - 0.03 * max(0.0, 4 - math.log2(params["llm_rank"]))
    speed = max(0.4, 1.2 + rate)
    end = math.exp(-2 * speed)
    values = [100 * quality * (1 - 0.55 * math.exp(-2 * speed * rung) + 0.55 * end) for rung in rungs]
    return [max(0.0, value + rng.normal(0, 0.8 + 1.2 * (1 - rung))) for value, rung in zip(values, rungs, strict=True)]


def make_row(space: BoundSpace, params: dict[str, Any], rungs: tuple[float, ...], seed: int) -> Row:
    """The row of one candidate."""
    candidate = space.candidate(params)
    rng = np.random.default_rng([seed, int(candidate.key[:12], 16)])
    values = curve(params, space.shape, rungs, rng)
    depth = candidate.variant.architecture()
    seconds = [6.0 * share for share in np.diff([0.0, *rungs])]
    return Row(
        params,
        candidate.to_json(),
        tuple(round(v, 4) for v in values),
        tuple(round(float(s), 3) for s in seconds),
        *costs(depth.llm_layers, depth.qformer_layers, values[-1], rng),
    )


def costs(llm: int, qformer: int, cider: float, rng: np.random.Generator) -> tuple[float, float, dict[str, float], str | None]:
    """Latency in ms, test CIDEr, costs by name, and no fault."""
    figures = {"params": 1.1e6 + 2e5 * llm + 1.2e5 * qformer, "trainable": 4e4, "gmacs": 0.5 + 0.1 * llm + 0.02 * qformer}
    figures |= {"size_mb": figures["params"] * 4e-6, "memory_gb": 0.1 + 0.01 * llm}
    latency = 4 + 1.9 * llm + 0.7 * qformer + 0.15 * (llm % 3)
    return round(latency, 3), round(cider - 2 + float(rng.normal(0, 0.8)), 4), figures, None


def metadata_of(space: BoundSpace, epochs: float, train_images: int) -> dict[str, Any]:
    """A table's metadata."""
    return {"shape": asdict(space.shape), "space_key": space.key, "epochs": epochs, "train_images": train_images}


def main() -> None:
    """Write the table and its space."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="NAME.json.gz; the space is copied to NAME.yaml beside it")
    p.add_argument(
        "--space", type=Path, default=TABLES / "tiny-mini.yaml", help="YAML of a countable space (default: the shipped table's)"
    )
    p.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = p.parse_args()
    write(options.out, options.space, options.seed)


def write(out: Path, source: Path, seed: int) -> None:
    """Write a table over the countable space in `source`."""
    space = load_space(source)
    bound = space.bind(SHAPE)
    distinct: dict[Candidate, dict[str, Any]] = {}
    for params in bound.combinations():
        distinct.setdefault(bound.candidate(params), params)
    rows = [make_row(bound, params, space.rungs, seed) for params in distinct.values()]
    zero = bound.zero_shot()
    latency, _, figures, _ = costs(SHAPE.llm_layers, SHAPE.qformer_layers, 20.0, np.random.default_rng(seed))
    curve0 = tuple(20.0 for _ in space.rungs)
    rows.append(Row(None, zero.to_json(), curve0, tuple(1.0 for _ in curve0), latency, 18.0, figures))
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, out.with_name(out.name.removesuffix(".json.gz") + ".yaml"))
    epochs = zero.recipe.epochs if not rows else float(bound.candidate(rows[0].params or {}).recipe.epochs)
    save_recording(out, metadata_of(bound, epochs, TRAIN_IMAGES), rows)


if __name__ == "__main__":
    main()
