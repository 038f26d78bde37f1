"""What a latency is worth: how it repeats, what trainers do to it, whether its order is sane, what the additive model misses.

Run from the repository root on an idle machine:
    python -m benchmarks.latency repeat|interference|order|model [--base tiny|small|FOLDER] [--write]

Each prints a table and, last, one line of JSON; --write puts the table into docs/measurement.md in place of an older one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.bases import Depths, full, named_base
from benchmarks.interference import Trainers
from benchmarks.report import machine, table, write_section
from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel, design
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Entry, Latency, Ledger
from rsopt.latency.protocol import Protocol, first_layers, latency_context
from rsopt.latency.session import measure_latency
from rsopt.latency.subject import random_image
from rsopt.model.base import Base
from rsopt.model.build import build

DOCS = Path(__file__).parents[1] / "docs" / "measurement.md"
Found = tuple[str, dict[str, Any], str]  # heading, facts, table


def main() -> int:
    """Parse, measure, print, write."""
    options = parser().parse_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(options.threads)
    base = named_base(options.base)
    commands: dict[str, Callable[[Base, argparse.Namespace], Found]] = {
        "repeat": repeat,
        "interference": interference,
        "order": order,
        "model": model,
    }
    heading, found, body = commands[options.what](base, options)
    print(f"{heading}\n\n{body}\n")
    print(json.dumps(found))
    if options.write:
        facts = {
            "command": f"`python -m benchmarks.latency {options.what} --base {options.base}`",
            "machine": machine(),
        }
        shown = {name: value for name, value in found.items() if not isinstance(value, list | dict)}
        write_section(heading, facts | shown, body, DOCS)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("what", choices=("repeat", "interference", "order", "model"))
    made.add_argument("--base", default="tiny", help="tiny, small (random, 99 M) or a folder (default: %(default)s)")
    made.add_argument("--new-tokens", type=int, default=12, help="(default: %(default)s)")
    made.add_argument(
        "--sessions", type=int, default=10, help="of repeat and, halved, interference (default: %(default)s)"
    )
    made.add_argument("--threads", type=int, default=1, help="torch threads on a CPU (default: %(default)s)")
    made.add_argument("--write", action="store_true", help="put the result into docs/measurement.md")
    return made


def session(base: Base, depths: Depths, protocol: Protocol, device_lock: DeviceLock) -> Latency:
    """One session on an architecture, without a ledger."""
    return measure_latency(build(base, first_layers(*depths)).model, base, random_image(base), protocol, device_lock)


def own_quiet() -> DeviceLock:
    """A lock of this benchmark's own: what else runs on the machine should not run at all."""
    return DeviceLock("benchmark", Path(tempfile.mkdtemp(prefix="rsopt-benchmark-")))


def spread(values: list[float]) -> float:
    """(largest - smallest) / median, in per cent."""
    return 100 * (max(values) - min(values)) / median(values)


def repeat(base: Base, options: argparse.Namespace) -> Found:
    """The search's own protocol so many times over on the full-depth model."""
    protocol, device_lock = Protocol.for_device(base.device, options.new_tokens), own_quiet()
    found = [session(base, full(base), protocol, device_lock) for _ in range(options.sessions)]
    scale = found[0].reference_ms
    relative = [scale * f.ratio for f in found]
    rows = [
        [i, f.raw_ms, r, f.reference_ms, f"{100 * f.drift:.1f} %", f.runs, f.voided]
        for i, (f, r) in enumerate(zip(found, relative, strict=True))
    ]
    facts = {
        "sessions": len(found),
        "spread_relative_percent": round(spread(relative), 2),
        "spread_raw_percent": round(spread([f.raw_ms for f in found]), 2),
        "median_ms": round(median(relative), 3),
        "voided": sum(f.voided for f in found),
        "relative_ms": relative,
        "raw_ms": [f.raw_ms for f in found],
    }
    head = ["session", "raw median, ms", "relative to the reference, ms", "reference, ms", "drift", "runs", "voided"]
    return f"Latency: repeatability ({options.base})", facts, table(head, rows)


def interference(base: Base, options: argparse.Namespace) -> Found:
    """Idle, beside two trainers that give way, and beside two that do not."""
    protocol = replace(Protocol.for_device(base.device, options.new_tokens), repeats=0)
    sessions = max(1, options.sessions // 2)
    found: dict[str, list[Latency]] = {}
    device_lock = own_quiet()
    found["idle"] = [session(base, full(base), protocol, device_lock) for _ in range(sessions)]
    told: dict[str, list[dict[str, Any]]] = {}
    for name, gives_way in (("two trainers, quiet lock", True), ("two trainers, no lock", False)):
        device_lock = own_quiet()
        with Trainers(options.base, device_lock.folder, gives_way, count=2) as trainers:
            found[name] = [session(base, full(base), protocol, device_lock) for _ in range(sessions)]
        told[name] = trainers.told
    ratio = {name: median(f.ratio for f in own) for name, own in found.items()}
    raw = {name: median(f.raw_ms for f in own) for name, own in found.items()}
    rows = []
    for name in found:
        steps = ", ".join(str(t["steps"]) for t in told.get(name, ())) or "-"
        change = [f"{100 * (x[name] / x['idle'] - 1):+.1f} %" for x in (raw, ratio)]
        rows.append([name, raw[name], *change, f"{100 * max(f.drift for f in found[name]):.1f} %", steps])
    losses = {round(loss, 6) for own in told.values() for t in own for loss in t["losses"]}
    facts = {
        "sessions": sessions,
        "with_lock_relative_percent": round(100 * (ratio["two trainers, quiet lock"] / ratio["idle"] - 1), 2),
        "with_lock_raw_percent": round(100 * (raw["two trainers, quiet lock"] / raw["idle"] - 1), 2),
        "without_lock_raw_percent": round(100 * (raw["two trainers, no lock"] / raw["idle"] - 1), 2),
        "trainings_completed": sum(len(t["losses"]) for own in told.values() for t in own),
        "different_final_losses": len(losses),  # 1: paused or not, the same seed trains the same model
        "steps": {name: [t["steps"] for t in own] for name, own in told.items()},
    }
    head = ["", "raw median, ms", "raw against idle", "relative against idle", "most drift", "trainers' steps"]
    return f"Latency: interference ({options.base})", facts, table(head, rows)


def order(base: Base, options: argparse.Namespace) -> Found:
    """LLM depths 8/7/6/5 eighths, then Q-Former depths, each beside what the Q-Former's share of time predicts."""
    protocol, device_lock = steady(Protocol.for_device(base.device, options.new_tokens)), own_quiet()
    vision, qformer, llm = full(base)
    every = base.shape.cross_attention_frequency
    by_llm: list[Depths] = [(vision, qformer, round(llm * share / 8)) for share in (8, 7, 6, 5)]
    by_qformer: list[Depths] = [(vision, depth, llm) for depth in range(qformer - every, 0, -every)]
    found = {depths: session(base, depths, protocol, device_lock) for depths in (*by_llm, *by_qformer)}
    scale = found[full(base)].reference_ms
    at = {depths: f.relative_to(scale) for depths, f in found.items()}
    whole, rows = at[full(base)], []
    for depths, f in at.items():
        predicted = whole.latency_ms - whole.parts_ms["qformer"] * (1 - depths[1] / qformer)
        expected = f"{predicted:.4g}" if depths[2] == llm else "-"
        rows.append([*depths, f.latency_ms, f"{f.interval_ms[0]:.4g} to {f.interval_ms[1]:.4g}", expected, f.runs])
    falls = [at[a].interval_ms[0] > at[b].interval_ms[1] for a, b in pairwise(by_llm)]
    misses = [
        100
        * (whole.latency_ms - whole.parts_ms["qformer"] * (1 - d[1] / qformer) - at[d].latency_ms)
        / at[d].latency_ms
        for d in by_qformer
    ]
    facts = {
        "llm_falls_beyond_intervals": all(falls),
        "qformer_worst_miss_percent": worst(misses),
        "latency_ms": {"/".join(map(str, d)): f.latency_ms for d, f in at.items()},
    }
    head = ["vision", "Q-Former", "LLM", "latency, ms", "95 % interval", "by the Q-Former's share, ms", "runs"]
    return f"Latency: order over depths ({options.base})", facts, table(head, rows)


def model(base: Base, options: argparse.Namespace) -> Found:
    """The additive model fitted to its design, against architectures that it never saw."""
    protocol, device_lock = Protocol.for_device(base.device, options.new_tokens), own_quiet()
    ledger, context = Ledger(Path(tempfile.mkdtemp()) / "ledger.jsonl"), latency_context(base, protocol)
    vision, qformer, llm = full(base)
    every = base.shape.cross_attention_frequency
    unseen: list[Depths] = [
        (vision, qformer, round(0.75 * llm)),
        (vision, max(every, qformer - every), round(0.6 * llm)),
        (vision, max(every, qformer - 2 * every), round(0.85 * llm)),
        (max(1, round(0.8 * vision)), qformer, llm),
    ]
    entries: dict[Depths, Any] = {}
    for depths in dict.fromkeys([*design(base.shape), *unseen]):
        variant = first_layers(*depths)
        built = build(base, variant)
        ledger.get_or_measure(
            context,
            variant.architecture(base.dtype, base.shape),
            lambda which=built.model: measure_latency(which, base, random_image(base), protocol, device_lock),  # type: ignore[misc]
        )
        entries[depths] = ledger.entries(context)[-1]
    of_design = [entries[depths] for depths in design(base.shape)]
    fitted = LatencyModel.fit(of_design, every)
    rows, errors = list[list[Any]](), list[float]()
    for depths in (d for d in unseen if d not in design(base.shape)):
        measured = entries[depths].latency.latency_ms
        predicted = fitted.predict(entries[depths].architecture)
        assert predicted is not None
        errors.append(100 * (predicted[0] / measured - 1))
        rows.append(
            [*depths, measured, predicted[0], f"{errors[-1]:+.1f} %", f"{100 * predicted[1] / predicted[0]:.1f} %"]
        )
    left_out = [100 * (p / m - 1) for _, m, p in held_out(of_design, every)]
    facts = {
        "fitted_to": fitted.entries,
        "stated_error_percent": round(100 * fitted.error, 2),
        "worst_unseen_percent": worst(errors),
        "worst_left_out_percent": worst(left_out),
        "unseen_percent": errors,
    }
    head = ["vision", "Q-Former", "LLM", "measured, ms", "predicted, ms", "error", "stated error"]
    return f"Latency: additive model ({options.base})", facts, table(head, rows)


def held_out(entries: Sequence[Entry], cross_attention_frequency: int) -> list[tuple[Architecture, float, float]]:
    """(architecture, measured ms, ms predicted from the other entries) of every entry whose depths the others cover."""
    rows = []
    for index, entry in enumerate(entries):
        fitted = LatencyModel.fit([*entries[:index], *entries[index + 1 :]], cross_attention_frequency)
        if (predicted := fitted.predict(entry.architecture)) is not None:
            rows.append((entry.architecture, entry.latency.latency_ms, predicted[0]))
    return rows


def worst(percents: list[float]) -> float:
    """The one farthest from 0."""
    farthest = max(percents, key=abs)
    return round(farthest, 2)


def steady(protocol: Protocol) -> Protocol:
    """With rounds enough to tell neighbouring depths apart; on a GPU there are enough."""
    if protocol.least_runs >= 100:
        return protocol
    return replace(protocol, least_runs=12, most_runs=100, width=0.01, seconds=8.0)


if __name__ == "__main__":
    sys.exit(main())
