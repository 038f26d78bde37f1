"""Record a table for `python -m search.simulate`: every candidate of a countable space, trained for real through all its rungs.

Run from the repository root, on a machine that does nothing else (latencies are measured too):

    python -m benchmarks.factorial --work FOLDER [--processes 2] [--out search/tables/tiny-mini.json.gz]

Candidates that are done are kept in FOLDER, so the same command goes on after an interruption. `--first N` records only so
many and writes no table unless `--out`
is given. The space is the file beside the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Candidate, Leg
from rsopt.data.generated.mini import mini_folder
from rsopt.model.configs import base_config, shape_of
from search.engine.legs import leg_seed
from search.optimizer.exact_costs import exact_costs
from search.simulation.recording import TABLES, Row, save_recording
from search.space.load import Space, load_space

TABLE = TABLES / "tiny-mini.json.gz"
BIGGEST = 2_000_000  # bytes of a table that may be shipped


def main() -> int:
    """Record what is missing, then write the table."""
    options = parser().parse_args()
    source = options.space or TABLES / "tiny-mini.yaml"
    space = load_space(source)
    work: Path = options.work
    (work / "rows").mkdir(parents=True, exist_ok=True)
    data = options.data or str(mini_folder())
    todo = candidates(space, options.base)
    chosen = todo if options.first is None else todo[:: max(1, len(todo) // options.first)][: options.first]
    missing = [
        (number, params, made) for number, params, made in chosen if not (work / "rows" / f"{number:04d}.json").exists()
    ]
    print(f"{len(chosen)} candidates, {len(chosen) - len(missing)} recorded before", flush=True)
    record(missing, space, options.base, data, work, options.processes, options.seed)
    if options.first is not None and options.out is None:
        return 0
    return write(options.out or TABLE, source, space, options, data, [number for number, *_ in chosen])


def parser() -> argparse.ArgumentParser:
    """Options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of what is recorded so far")
    p.add_argument("--out", type=Path, help=f"table to write (default: {TABLE.relative_to(TABLES.parent.parent)})")
    p.add_argument("--space", type=Path, help="YAML of a countable space (default: the one beside the shipped table)")
    p.add_argument("--base", default="tiny", help="(default: %(default)s)")
    p.add_argument("--data", help="data set (default: mini)")
    p.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    p.add_argument("--first", type=int, metavar="N", help="only so many candidates, spread over the space")
    p.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    return p


def candidates(space: Space, base: str) -> list[tuple[int, dict[str, Any] | None, Candidate]]:
    """Number, params and candidate of each distinct candidate; the untuned base first, the full-depth reference among them."""
    bound = space.bind(shape_of(base_config(base)))
    found: dict[Candidate, dict[str, Any] | None] = {bound.zero_shot(): None}
    for params in bound.combinations():
        found.setdefault(bound.candidate(params), params)
    found.setdefault(bound.full_depth()[1], None)
    return [(number, params, made) for number, (made, params) in enumerate(found.items())]


def record(missing: list[Any], space: Space, base: str, data: str, work: Path, processes: int, seed: int) -> None:
    """Train what is missing on so many processes, a core each; says how far it is and how long it will take."""
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=_latencies, args=([made for *_, made in missing], base, data, work))
    first.start()
    first.join()
    queue, done = context.Queue(), context.Queue()
    for item in missing:
        queue.put(item)
    for _ in range(processes):
        queue.put(None)
    workers = [
        context.Process(target=_work, args=(queue, done, base, data, space.rungs, work, seed), daemon=True)
        for _ in range(processes)
    ]
    begun = time.monotonic()
    for worker in workers:
        worker.start()
    for n in range(1, len(missing) + 1):
        while done.empty() and not any(worker.exitcode for worker in workers):
            time.sleep(0.1)
        if done.empty():
            raise SystemExit("a worker died; its traceback is above, and the same command goes on")
        label, seconds = done.get()
        left = (time.monotonic() - begun) / n * (len(missing) - n) / 60
        print(f"{n}/{len(missing)}  {label}  {seconds:.1f} s; {left:.1f} min left", flush=True)
    for worker in workers:
        worker.join()


def _latencies(candidates: list[Candidate], base_name: str, data: str, work: Path) -> None:
    """Every architecture's latency, before anything trains beside it."""
    from rsopt.core.inference import GENERATE
    from rsopt.latency.device import quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.model.build import build
    from rsopt.model.vision_features import pixels
    from rsopt.trial.latency_metrics import architecture_latency

    worker = resident_of(base_name, data)
    base, ledger = worker.base, Ledger(work / "latency.jsonl")
    device_lock, image = DeviceLock(quiet_name(base.device)), pixels(base, worker.data.split("val")[:1])
    for variant in {c.variant.architecture(): replace(c.variant, lora=None) for c in candidates}.values():
        model = build(base, variant).model
        measure = partial(_timed, model, base, image, device_lock)
        found = architecture_latency(
            variant.architecture(base.dtype, base.shape),
            worker,
            ledger,
            GENERATE,
            None,
            measure,
        )
        print(variant.architecture(), f"{found['latency_ms']:.2f} ms" if found else "", flush=True)


def _timed(model: Any, base: Any, image: Any, device_lock: Any, protocol: Any) -> Any:
    from rsopt.latency.session import measure_latency

    return measure_latency(model, base, image, protocol, device_lock)


def resident_of(base: str, data: str) -> Any:
    """The embedded base with its data, on one thread, as a worker holds them."""
    import torch
    from transformers.utils import logging

    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.trial.worker_context import WorkerContext

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    return WorkerContext(load_base(base), read(data))


def _work(queue: Any, done: Any, base: str, data: str, rungs: tuple[float, ...], work: Path, seed: int) -> None:
    from rsopt.latency.device import quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger

    worker = resident_of(base, data)
    ledger = Ledger(work / "latency.jsonl")
    device_lock = DeviceLock(quiet_name(worker.base.device))
    costs = exact_costs(base, worker.base.dtype, memory=True)
    while (item := queue.get()) is not None:
        number, params, candidate = item
        begun = time.monotonic()
        row = _row(number, params, candidate, worker, ledger, device_lock, rungs, work, seed, dict(costs(candidate)))
        write_json(work / "rows" / f"{number:04d}.json", asdict(row))
        shutil.rmtree(work / "candidates" / f"{number:04d}", ignore_errors=True)
        done.put((candidate.variant.label, time.monotonic() - begun))


def _row(
    number: int,
    params: dict[str, Any] | None,
    candidate: Candidate,
    worker: Any,
    ledger: Any,
    device_lock: Any,
    rungs: tuple[float, ...],
    work: Path,
    seed: int,
    figures: dict[str, float],
) -> Row:
    """All legs of one candidate, by the seam that the search uses, then its score on the test split."""
    from rsopt.errors import CandidateError
    from rsopt.trial.run_leg import run_leg

    stops = rungs if candidate.variant.lora is not None else rungs[-1:]
    cider: list[float] = []
    seconds: list[float] = []
    start, latency, fault = 0.0, None, None
    for stop in stops:
        leg = Leg(number, candidate, start, stop, leg_seed(seed, number))
        try:
            found = run_leg(leg, worker, work, ledger, device_lock)
        except CandidateError as error:
            fault = f"{error.kind}: {error.reason}"
            break
        cider.append(round(found.metrics["cider"], 4))
        # Latency is measured once an architecture, by whoever comes first: no part of what a candidate takes.
        parts = {
            k: v for k, v in found.seconds.items() if k not in ("first_step", "trained", "latency", "features", "check")
        }
        seconds.append(round(sum(parts.values()), 3))
        latency = found.metrics.get("latency_ms")
        start = stop
    if candidate.variant.lora is None and cider:  # the untuned base has one value at every rung
        cider, seconds = cider * len(rungs), [0.0] * (len(rungs) - 1) + seconds
    test = None if fault else round(_test_cider(number, candidate, worker, work, seed), 4)
    kept = {name: round(value, 6) for name, value in figures.items()}
    return Row(params, candidate.to_json(), tuple(cider), tuple(seconds), latency, test, kept, fault)


def _test_cider(number: int, candidate: Candidate, worker: Any, work: Path, seed: int) -> float:
    """CIDEr x100 of the trained candidate on the test split, by the full protocol."""
    from rsopt.caption.decoders import caption_features
    from rsopt.core.leg_files import STATE, rung_folder
    from rsopt.model.build import build, merged
    from rsopt.training.trainer import Trainer

    base = worker.base
    built = build(base, candidate.variant, leg_seed(seed, number))
    if candidate.variant.lora is not None:
        data = worker.training_set("train", candidate.variant.vision_layers, built)
        trainer = Trainer(built, data, candidate.recipe, leg_seed(seed, number), base.tokenizer.pad_token_id)
        trainer.load(rung_folder(work, number, 1.0) / STATE)
    plain = merged(built)
    inputs, queried = worker.inputs("test", built)
    captions = caption_features(plain, base, inputs, decode=worker.decode, queried=queried)
    samples = worker.data.split("test")
    answers = {sample.image_id: caption for sample, caption in zip(samples, captions, strict=True)}
    return float(worker.scorer("test").cider_of_part(answers).corpus)


def write(out: Path, source: Path, space: Space, options: Any, data: str, numbers: list[int]) -> int:
    """The table from what was recorded; refuses one that is too large to ship."""
    from importlib.metadata import version

    from rsopt.data.read import read

    rows = []
    for number in numbers:
        stored = json.loads((options.work / "rows" / f"{number:04d}.json").read_text())
        rows.append(Row(**{**stored, "cider": tuple(stored["cider"]), "seconds": tuple(stored["seconds"])}))
    bound = space.bind(shape_of(base_config(options.base)))
    epochs = {bound.candidate(row.params).recipe.epochs for row in rows if row.params is not None}
    if len(epochs) != 1:
        raise SystemExit("a table needs one number of epochs, the unit of compute")
    facts = {
        "base": options.base,
        "data": options.data or "mini",
        "seed": options.seed,
        "shape": asdict(bound.shape),
        "space_key": bound.key,
        "epochs": epochs.pop(),
        "train_images": len(read(data).split("train")),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    if out.with_name(out.name.removesuffix(".json.gz") + ".yaml").absolute() != Path(source).absolute():
        shutil.copy(source, out.with_name(out.name.removesuffix(".json.gz") + ".yaml"))
    save_recording(out, facts, rows)
    size = out.stat().st_size
    print(f"{len(rows)} rows, {size / 1e3:.0f} kB: {out}")
    return 0 if size <= BIGGEST else 1


if __name__ == "__main__":
    sys.exit(main())
