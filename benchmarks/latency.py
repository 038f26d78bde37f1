"""Quality of latency measurements: repeatability, interference by training, order over depths, error of the additive model.

Run from the repository root on an idle machine:
    python -m benchmarks.latency repeat|interference|order|model [--base tiny|small|FOLDER] [--write]

Each prints a table and then one line of JSON; --write puts the table into docs/measurement.md and replaces an earlier one.
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

from benchmarks.background_training import BackgroundTrainers
from benchmarks.bases import Depths, full_depths, named_base
from benchmarks.report import DOCS, measured_by, table, write_section
from rsopt.core.variant import Architecture
from rsopt.latency.additive_model import LatencyModel, design
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Entry, Latency, Ledger
from rsopt.latency.protocol import Protocol, first_layers, latency_context
from rsopt.latency.session import measure_latency
from rsopt.latency.subject import random_image
from rsopt.model.base import Base
from rsopt.model.build import build

Section = tuple[str, dict[str, Any], str]  # heading, measurements, table
WITH_LOCK, WITHOUT_LOCK = "two trainers, device lock", "two trainers, no lock"


def main() -> int:
    """Measure, print and write."""
    options = parser().parse_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(options.threads)
    base = named_base(options.base)
    commands: dict[str, Callable[[Base, argparse.Namespace], Section]] = {
        "repeat": repeat,
        "interference": interference,
        "order": order,
        "model": model,
    }
    heading, measurements, body = commands[options.what](base, options)
    print(f"{heading}\n\n{body}\n")
    print(json.dumps(measurements))
    if options.write:
        summary = {name: value for name, value in measurements.items() if not isinstance(value, list | dict)}
        facts = [
            measured_by(f"python -m benchmarks.latency {options.what} --base {options.base}"),
            ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.items()),
        ]
        write_section(heading, facts, body, DOCS / "measurement.md")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("what", choices=("repeat", "interference", "order", "model"))
    made.add_argument("--base", default="tiny", help="tiny, small (random, 99 M) or a folder (default: %(default)s)")
    made.add_argument("--new-tokens", type=int, default=12, help="of a caption (default: %(default)s)")
    made.add_argument("--sessions", type=int, default=10, help="of repeat; half as many of interference (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="torch threads on a CPU (default: %(default)s)")
    made.add_argument("--write", action="store_true", help="write the table into docs/measurement.md")
    return made


def session(base: Base, depths: Depths, protocol: Protocol, device_lock: DeviceLock) -> Latency:
    """Measure one architecture in one session, without a ledger."""
    return measure_latency(build(base, first_layers(*depths)).model, base, random_image(base), protocol, device_lock)


def new_lock() -> DeviceLock:
    """A device lock that no other process uses; the machine should be idle."""
    return DeviceLock("benchmark", Path(tempfile.mkdtemp(prefix="rsopt-benchmark-")))


def spread(values: list[float]) -> float:
    """(largest - smallest) / median, in per cent."""
    return 100 * (max(values) - min(values)) / median(values)


def repeat(base: Base, options: argparse.Namespace) -> Section:
    """Repeat the search's protocol on the full-depth model."""
    protocol, device_lock = Protocol.for_device(base.device, options.new_tokens), new_lock()
    latencies = [session(base, full_depths(base), protocol, device_lock) for _ in range(options.sessions)]
    scale = latencies[0].reference_ms
    relative = [scale * latency.ratio for latency in latencies]
    raw = [latency.raw_ms for latency in latencies]
    rows = [
        [i, x.raw_ms, r, x.reference_ms, f"{100 * x.drift:.1f}", x.runs, x.voided]
        for i, (x, r) in enumerate(zip(latencies, relative, strict=True))
    ]
    facts = {
        "sessions": len(latencies),
        "spread_relative_percent": round(spread(relative), 2),
        "spread_raw_percent": round(spread(raw), 2),
        "median_ms": round(median(relative), 3),
        "voided": sum(latency.voided for latency in latencies),
        "relative_ms": relative,
        "raw_ms": raw,
    }
    head = ["session", "raw, ms", "relative, ms", "reference, ms", "drift, %", "runs", "voided"]
    return f"Latency: repeatability ({options.base})", facts, table(head, rows)


def interference(base: Base, options: argparse.Namespace) -> Section:
    """Measure on an idle machine, beside two trainers that pause, and beside two that do not."""
    protocol = replace(Protocol.for_device(base.device, options.new_tokens), repeats=0)
    sessions = max(1, options.sessions // 2)
    latencies: dict[str, list[Latency]] = {}
    device_lock = new_lock()
    latencies["idle"] = [session(base, full_depths(base), protocol, device_lock) for _ in range(sessions)]
    trained: dict[str, list[dict[str, Any]]] = {}
    for name, pauses in ((WITH_LOCK, True), (WITHOUT_LOCK, False)):
        device_lock = new_lock()
        with BackgroundTrainers(options.base, device_lock.folder, pauses, count=2) as trainers:
            latencies[name] = [session(base, full_depths(base), protocol, device_lock) for _ in range(sessions)]
        trained[name] = trainers.results
    ratio = {name: median(x.ratio for x in measured) for name, measured in latencies.items()}
    raw = {name: median(x.raw_ms for x in measured) for name, measured in latencies.items()}
    rows = []
    for name, measured in latencies.items():
        steps = ", ".join(str(t["steps"]) for t in trained.get(name, ())) or "-"
        change = ["-" if name == "idle" else f"{100 * (x[name] / x['idle'] - 1):+.1f}" for x in (raw, ratio)]
        rows.append([name, raw[name], *change, f"{100 * max(x.drift for x in measured):.1f}", steps])
    trainings = [training for results in trained.values() for training in results]
    losses = {round(loss, 6) for training in trainings for loss in training["losses"]}
    facts = {
        "sessions": sessions,
        "with_lock_relative_percent": round(100 * (ratio[WITH_LOCK] / ratio["idle"] - 1), 2),
        "with_lock_raw_percent": round(100 * (raw[WITH_LOCK] / raw["idle"] - 1), 2),
        "without_lock_raw_percent": round(100 * (raw[WITHOUT_LOCK] / raw["idle"] - 1), 2),
        "trainings_completed": sum(len(training["losses"]) for training in trainings),
        "different_final_losses": len(losses),  # 1: paused or not, the same seed trains the same model
        "steps": {name: [training["steps"] for training in results] for name, results in trained.items()},
    }
    head = ["", "raw median, ms", "raw against idle, %", "relative against idle, %", "most drift, %", "trainers' steps"]
    return f"Latency: interference ({options.base})", facts, table(head, rows)


def order(base: Base, options: argparse.Namespace) -> Section:
    """Measure LLM depths of 8, 7, 6 and 5 eighths, then Q-Former depths, with a prediction from the Q-Former's share of time."""
    protocol, device_lock = steady(Protocol.for_device(base.device, options.new_tokens)), new_lock()
    vision, qformer, llm = full_depths(base)
    every = base.shape.cross_attention_frequency
    by_llm: list[Depths] = [(vision, qformer, round(llm * share / 8)) for share in (8, 7, 6, 5)]
    by_qformer: list[Depths] = [(vision, depth, llm) for depth in range(qformer - every, 0, -every)]
    sessions = {depths: session(base, depths, protocol, device_lock) for depths in (*by_llm, *by_qformer)}
    scale = sessions[full_depths(base)].reference_ms
    latencies = {depths: latency.relative_to(scale) for depths, latency in sessions.items()}
    whole, rows = latencies[full_depths(base)], []
    for depths, latency in latencies.items():
        predicted = whole.latency_ms - whole.parts_ms["qformer"] * (1 - depths[1] / qformer)
        expected = f"{predicted:.4g}" if depths[2] == llm else "-"
        low, high = latency.interval_ms
        rows.append([_name(depths), latency.latency_ms, f"[{low:.4g}, {high:.4g}]", expected, latency.runs])
    falls = [latencies[a].interval_ms[0] > latencies[b].interval_ms[1] for a, b in pairwise(by_llm)]
    misses = [
        100
        * (whole.latency_ms - whole.parts_ms["qformer"] * (1 - d[1] / qformer) - latencies[d].latency_ms)
        / latencies[d].latency_ms
        for d in by_qformer
    ]
    facts = {
        "llm_falls_beyond_intervals": all(falls),
        "qformer_worst_miss_percent": worst(misses),
        "latency_ms": {_name(depths): latency.latency_ms for depths, latency in latencies.items()},
    }
    head = ["depths", "ms", "95 % interval", "by the Q-Former's share, ms", "runs"]
    return f"Latency: order over depths ({options.base})", facts, table(head, rows)


def model(base: Base, options: argparse.Namespace) -> Section:
    """Fit the additive model to its design and compare it with architectures outside the design."""
    protocol, device_lock = Protocol.for_device(base.device, options.new_tokens), new_lock()
    ledger, context = Ledger(Path(tempfile.mkdtemp()) / "ledger.jsonl"), latency_context(base, protocol)
    vision, qformer, llm = full_depths(base)
    every = base.shape.cross_attention_frequency
    unseen: list[Depths] = [
        (vision, qformer, round(0.75 * llm)),
        (vision, max(every, qformer - every), round(0.6 * llm)),
        (vision, max(every, qformer - 2 * every), round(0.85 * llm)),
        (max(1, round(0.8 * vision)), qformer, llm),
    ]
    architectures: dict[Depths, Architecture] = {}
    for depths in dict.fromkeys([*design(base.shape), *unseen]):
        variant = first_layers(*depths)
        built, architectures[depths] = build(base, variant), variant.architecture(base.dtype, base.shape)
        while ledger.get(context, architectures[depths]) is None:  # disturbed sessions do not count
            ledger.get_or_measure(
                context,
                architectures[depths],
                lambda which=built.model: measure_latency(which, base, random_image(base), protocol, device_lock),  # type: ignore[misc]
            )
    measured_by_architecture = {entry.architecture: entry for entry in ledger.entries(context)}
    entries = {depths: measured_by_architecture[architecture] for depths, architecture in architectures.items()}
    of_design = [entries[depths] for depths in design(base.shape)]
    fitted = LatencyModel.fit(of_design, every)
    rows, errors = list[list[Any]](), list[float]()
    for depths in (d for d in unseen if d not in design(base.shape)):
        measured = entries[depths].latency.latency_ms
        predicted = fitted.predict(entries[depths].architecture)
        assert predicted is not None
        errors.append(100 * (predicted[0] / measured - 1))
        rows.append([_name(depths), measured, predicted[0], f"{errors[-1]:+.1f}", f"{100 * predicted[1] / predicted[0]:.1f}"])
    left_out = [100 * (p / m - 1) for _, m, p in held_out(of_design, every)]
    facts = {
        "fitted_to": fitted.entries,
        "stated_error_percent": round(100 * fitted.error, 2),
        "worst_unseen_percent": worst(errors),
        "worst_left_out_percent": worst(left_out),
        "unseen_percent": errors,
    }
    head = ["depths", "measured, ms", "predicted, ms", "error, %", "stated error, %"]
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
    """The value farthest from 0."""
    farthest = max(percents, key=abs)
    return round(farthest, 2)


def steady(protocol: Protocol) -> Protocol:
    """The protocol with enough rounds to tell neighbouring depths apart; a GPU's has enough already."""
    if protocol.least_runs >= 100:
        return protocol
    return replace(protocol, least_runs=12, most_runs=100, width=0.01, seconds=8.0)


def _name(depths: Depths) -> str:
    return "/".join(map(str, depths))


if __name__ == "__main__":
    sys.exit(main())
