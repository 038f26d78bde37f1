"""Records a table for `python -m search.simulate`: trains all candidates of a countable space through all rungs.

Run from the repository root, on an idle machine (latencies are measured too):

    python -m benchmarks.factorial --work FOLDER [--processes 2] [--out search/simulation/tables/tiny-mini.json.gz]

FOLDER holds finished candidates, so the same command continues after an interruption. `--first N` records N candidates and
writes no table without `--out`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Measurement
from rsopt.data.generated.mini import mini_folder
from rsopt.model.configs import base_config, shape_of
from search.engine.legs import leg_seed
from search.optimizer.exact_costs import exact_costs
from search.simulation.recording import TABLES, Row, save_recording
from search.space.load import Space, load_space

if TYPE_CHECKING:
    from rsopt.trial.worker_context import WorkerContext

TABLE = TABLES / "tiny-mini.json.gz"
BIGGEST = 2_000_000  # bytes of a shipped table
Task = tuple[int, dict[str, Any] | None, Candidate]  # number, params, candidate


@dataclass(frozen=True, slots=True)
class TableRecording:
    """What is recorded: base, data set, rungs and seed; `work` holds the rows so far."""

    base: str
    data: str
    rungs: tuple[float, ...]
    seed: int
    work: Path

    def row_file(self, number: int) -> Path:
        """The file of a finished candidate."""
        return self.work / "rows" / f"{number:04d}.json"


def main() -> int:
    """Record the missing candidates, then write the table."""
    options = parser().parse_args()
    source = options.space or TABLES / "tiny-mini.yaml"
    space = load_space(source)
    (options.work / "rows").mkdir(parents=True, exist_ok=True)
    data = options.data or str(mini_folder())
    recording = TableRecording(options.base, data, space.rungs, options.seed, options.work)
    tasks = candidates(space, options.base)
    chosen = tasks if options.first is None else tasks[:: max(1, len(tasks) // options.first)][: options.first]
    missing = [task for task in chosen if not recording.row_file(task[0]).exists()]
    print(f"{len(chosen)} candidates, {len(chosen) - len(missing)} recorded before", flush=True)
    record(missing, recording, options.processes)
    if options.first is not None and options.out is None:
        return 0
    name = options.data or "mini"
    return write(options.out or TABLE, source, recording, name, [number for number, *_ in chosen])


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the finished candidates")
    p.add_argument("--out", type=Path, help=f"table to write (default: {TABLE.relative_to(TABLES.parents[2])})")
    p.add_argument("--space", type=Path, help="YAML of a countable space (default: the one beside the shipped table)")
    p.add_argument("--base", default="tiny", help="base (default: %(default)s)")
    p.add_argument("--data", help="data set (default: mini)")
    p.add_argument("--processes", type=int, default=2, help="that train at the same time (default: %(default)s)")
    p.add_argument("--first", type=int, metavar="N", help="record only N candidates, spread over the space")
    p.add_argument("--seed", type=int, default=0, help="of the trainings (default: %(default)s)")
    return p


def candidates(space: Space, base: str) -> list[Task]:
    """All distinct candidates: the untuned base first, the full-depth reference included."""
    bound = space.bind(shape_of(base_config(base)))
    params_of: dict[Candidate, dict[str, Any] | None] = {bound.zero_shot(): None}
    for params in bound.combinations():
        params_of.setdefault(bound.candidate(params), params)
    params_of.setdefault(bound.full_depth()[1], None)
    return [(number, params, candidate) for number, (candidate, params) in enumerate(params_of.items())]


def record(missing: list[Task], recording: TableRecording, processes: int) -> None:
    """Train the missing candidates in processes of one core each; prints progress and the remaining time."""
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=_measure_latencies, args=([candidate for *_, candidate in missing], recording))
    first.start()
    first.join()
    queue, done = context.Queue(), context.Queue()
    for item in missing:
        queue.put(item)
    for _ in range(processes):
        queue.put(None)
    workers = [context.Process(target=_train_candidates, args=(queue, done, recording), daemon=True) for _ in range(processes)]
    begun = time.monotonic()
    for worker in workers:
        worker.start()
    for n in range(1, len(missing) + 1):
        while done.empty() and not any(worker.exitcode for worker in workers):
            time.sleep(0.1)
        if done.empty():
            raise SystemExit("a worker died (see its traceback above); the same command continues")
        label, seconds = done.get()
        left = (time.monotonic() - begun) / n * (len(missing) - n) / 60
        print(f"{n}/{len(missing)}  {label}  {seconds:.1f} s; {left:.1f} min left", flush=True)
    for worker in workers:
        worker.join()


def _measure_latencies(candidates: list[Candidate], recording: TableRecording) -> None:
    """Measure each architecture's latency before anything trains beside it."""
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.latency.session import measure_latency
    from rsopt.model.build import build
    from rsopt.model.vision_features import pixels
    from rsopt.trial.context import TrialContext
    from rsopt.trial.latency_metrics import architecture_latency
    from rsopt.trial.stopwatch import Stopwatch

    worker = worker_context(recording.base, recording.data)
    base, ledger = worker.base, Ledger(recording.work / "latency.jsonl")
    device_lock, image = DeviceLock(lock_name(base.device)), pixels(base, worker.data.split("val")[:1])
    for variant in {c.variant.architecture(): replace(c.variant, lora=None) for c in candidates}.values():
        model = build(base, variant).model
        leg = Leg(0, Candidate(variant), 0.0, 1.0, seed=0)
        context = TrialContext(leg, worker, recording.work, ledger, device_lock, Stopwatch(base.device))
        measure = partial(measure_latency, model, base, image, context.protocol, device_lock)
        metrics = architecture_latency(context, variant.architecture(base.dtype, base.shape), measure)
        print(variant.architecture(), f"{metrics['latency_ms']:.2f} ms" if metrics else "", flush=True)


def worker_context(base: str, data: str) -> WorkerContext:
    """A worker's context: a base and a data set, on one thread."""
    import torch
    from transformers.utils import logging

    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.trial.worker_context import WorkerContext

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    return WorkerContext(load_base(base), read(data))


def _train_candidates(queue: Any, done: Any, recording: TableRecording) -> None:
    """Train candidates from the queue and write their rows, until the queue holds None."""
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger

    worker = worker_context(recording.base, recording.data)
    ledger = Ledger(recording.work / "latency.jsonl")
    device_lock = DeviceLock(lock_name(worker.base.device))
    costs = exact_costs(recording.base, worker.base.dtype, memory=True)
    while (item := queue.get()) is not None:
        number, params, candidate = item
        begun = time.monotonic()
        run = partial(_run_leg, worker=worker, work=recording.work, ledger=ledger, device_lock=device_lock)
        figures = {name: round(value, 6) for name, value in costs(candidate).items()}
        curve = _curve(number, candidate, recording, run)
        test = None if curve.fault else round(_test_cider(number, candidate, worker, recording), 4)
        row = Row(params, candidate.to_json(), curve.cider, curve.seconds, curve.latency_ms, test, figures, curve.fault)
        write_json(recording.row_file(number), asdict(row))
        shutil.rmtree(recording.work / "candidates" / f"{number:04d}", ignore_errors=True)
        done.put((candidate.variant.label, time.monotonic() - begun))


def _run_leg(leg: Leg, worker: Any, work: Path, ledger: Any, device_lock: Any) -> Measurement:
    from rsopt.trial.context import TrialContext
    from rsopt.trial.run_leg import run_leg
    from rsopt.trial.stopwatch import Stopwatch
    from rsopt.trial.variant_trainee import VariantTrainee

    context = TrialContext(leg, worker, work, ledger, device_lock, Stopwatch(worker.base.device))
    return run_leg(context, VariantTrainee)


@dataclass(frozen=True, slots=True)
class Curve:
    """Results of a candidate's legs, by rung; `fault` says why later rungs are missing."""

    cider: tuple[float, ...]
    seconds: tuple[float, ...]
    latency_ms: float | None
    fault: str | None


def _curve(number: int, candidate: Candidate, recording: TableRecording, run: Callable[[Leg], Measurement]) -> Curve:
    """Run all legs of one candidate as a search does."""
    from rsopt.errors import CandidateError

    rungs, untuned = recording.rungs, candidate.variant.lora is None
    cider: list[float] = []
    seconds: list[float] = []
    start, latency, fault = 0.0, None, None
    for stop in rungs[-1:] if untuned else rungs:
        try:
            measurement = run(Leg(number, candidate, start, stop, leg_seed(recording.seed, number)))
        except CandidateError as error:
            fault = f"{error.kind}: {error.reason}"
            break
        cider.append(round(measurement.metrics["cider"], 4))
        # Latency is measured once an architecture, by its first candidate, so it is not part of a candidate's time.
        excluded = ("first_step", "trained", "latency", "features", "check")
        seconds.append(round(sum(s for part, s in measurement.seconds.items() if part not in excluded), 3))
        latency = measurement.metrics.get("latency_ms")
        start = stop
    if untuned and cider:  # the untuned base has one value at every rung
        cider, seconds = cider * len(rungs), [0.0] * (len(rungs) - 1) + seconds
    return Curve(tuple(cider), tuple(seconds), latency, fault)


def _test_cider(number: int, candidate: Candidate, worker: WorkerContext, recording: TableRecording) -> float:
    """CIDEr x100 of the trained candidate on the test split, by the full protocol."""
    from rsopt.caption.decoders import caption_features
    from rsopt.core.leg_files import STATE, rung_folder
    from rsopt.model.build import build, merged
    from rsopt.training.trainer import Trainer

    base, seed = worker.base, leg_seed(recording.seed, number)
    built = build(base, candidate.variant, seed)
    if candidate.variant.lora is not None:
        data = worker.training_set("train", candidate.variant.vision_layers, built)
        trainer = Trainer(built, data, candidate.recipe, seed, base.tokenizer.pad_token_id)
        trainer.load(rung_folder(recording.work, number, 1.0) / STATE)
    model = merged(built)
    inputs, queried = worker.inputs("test", built)
    texts = caption_features(model, base, inputs, decode=worker.decode, queried=queried)
    samples = worker.data.split("test")
    captions = {sample.image_id: text for sample, text in zip(samples, texts, strict=True)}
    return float(worker.scorer("test").cider_of_part(captions).corpus)


def write(out: Path, source: Path, recording: TableRecording, data_name: str, numbers: list[int]) -> int:
    """Write the table of the recorded candidates; returns 1 if it is too large to ship.

    Args:
        out: file of the table; the space is copied beside it.
        source: file of the space.
        recording: what was recorded.
        data_name: the data set's name in the table.
        numbers: of the candidates.
    """
    from importlib.metadata import version

    from rsopt.data.read import read

    rows = []
    for number in numbers:
        stored = json.loads(recording.row_file(number).read_text())
        rows.append(Row(**{**stored, "cider": tuple(stored["cider"]), "seconds": tuple(stored["seconds"])}))
    bound = load_space(source).bind(shape_of(base_config(recording.base)))
    epochs = {bound.candidate(row.params).recipe.epochs for row in rows if row.params is not None}
    if len(epochs) != 1:
        raise SystemExit("all candidates of a table must have the same number of epochs, the unit of compute")
    metadata = {
        "base": recording.base,
        "data": data_name,
        "seed": recording.seed,
        "shape": asdict(bound.shape),
        "space_key": bound.key,
        "epochs": epochs.pop(),
        "train_images": len(read(recording.data).split("train")),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    space_file = out.with_name(out.name.removesuffix(".json.gz") + ".yaml")
    if space_file.absolute() != source.absolute():
        shutil.copy(source, space_file)
    save_recording(out, metadata, rows)
    size = out.stat().st_size
    print(f"{len(rows)} rows, {size / 1e3:.0f} kB: {out}")
    return 0 if size <= BIGGEST else 1


if __name__ == "__main__":
    sys.exit(main())
