"""Functions that Ray workers run: one Ray trial runs one leg."""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsopt.core.candidate import Leg
from rsopt.core.leg_files import trained_folder
from rsopt.core.objectives import Fault, Measurement
from rsopt.errors import UserError
from search.execution.messages import REMEASURE, encode, trial_result
from search.execution.work import WorkerSpec
from search.execution.worker_cache import worker_context

if TYPE_CHECKING:
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.trial.context import TrialContext


def run_trial(config: dict[str, Any], work: WorkerSpec) -> dict[str, str]:
    """Run the leg in `config["leg"]`, or measure the latency of the leg in `config[REMEASURE]` again, after `pause_s` seconds.

    Returns a measurement, a fault of the candidate, or why this machine refused. Every other error is raised, for Ray to see.
    """

    def run() -> str:
        if REMEASURE in config:
            time.sleep(config["pause_s"])
            return json.dumps(_remeasure(Leg.from_json(config[REMEASURE]), work))
        leg = Leg.from_json(config["leg"])
        if isinstance(outcome := _run(leg, work), Fault):  # a failed training is not measured again
            shutil.rmtree(trained_folder(work.store().folder, leg.number, leg.stop), ignore_errors=True)
        return encode(outcome)

    return trial_result(run)


def rank_layers(work: WorkerSpec) -> Iterator[tuple[str, int, int] | dict[str, Any]]:
    """Scores the layers of the base. Yields progress (ranking, steps done, steps in all), and at last the rankings as JSON."""
    from rsopt.trial.layer_ranking import measure_rankings

    news: queue.Queue[tuple[str, int, int] | dict[str, Any]] = queue.Queue()
    failure: list[BaseException] = []

    def score() -> None:
        try:
            rankings = measure_rankings(worker_context(work), lambda what, done, of: news.put((what, done, of)))
            news.put(rankings.to_json())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            failure.append(error)
            news.put({})

    threading.Thread(target=score, daemon=True).start()
    while True:
        item = news.get()
        if failure:
            raise failure[0]
        yield item
        if isinstance(item, dict):
            return


def _run(leg: Leg, work: WorkerSpec) -> Measurement | Fault:
    assigned = time.perf_counter()
    # Imported here: the driver imports this module and needs no torch.
    import torch

    from rsopt.baselines.trainee import BaselineTrainee
    from rsopt.common.out_of_memory import is_out_of_memory, release
    from rsopt.errors import CandidateError
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.trial.run_leg import run_leg
    from rsopt.trial.variant_trainee import VariantTrainee

    store, device = work.store(), worker_context(work).base.device
    if leg.start > 0:
        store.pull_leg(leg.number, leg.start)  # where it ran on another node
    store.pull_leg(leg.number, leg.stop)  # finished, but its driver was dead
    device_lock = DeviceLock(lock_name(device), purpose=f"trial {leg.number} of {work.name}")

    def run() -> Measurement:
        trainee = VariantTrainee if leg.candidate.baseline is None else BaselineTrainee
        measurement = run_leg(_trial_context(leg, work, device_lock, assigned), trainee)
        store.push_leg(leg.number, leg.stop)
        return measurement

    try:
        try:
            return run()
        except (CandidateError, RuntimeError, MemoryError) as error:
            if not (is_out_of_memory(error) or (isinstance(error, CandidateError) and error.kind == "memory")):
                raise
        release()  # memory of other processes may be free by now: try again from the last checkpoint
        return run()
    except CandidateError as error:
        return Fault(leg.stop, error.kind, error.reason)  # type: ignore[arg-type]
    except UserError:
        raise
    except MemoryError as error:
        return Fault(leg.stop, "memory", f"the host's memory ended: {error}")
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.AcceleratorError):
            raise  # the GPU's fault
        if is_out_of_memory(error):
            return Fault(leg.stop, "memory", str(error).splitlines()[0][:300])
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Fault(leg.stop, "exception", f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})")
    finally:
        device_lock.close()


def _trial_context(leg: Leg, work: WorkerSpec, device_lock: DeviceLock, assigned: float | None = None) -> TrialContext:
    from rsopt.trial.context import TrialContext
    from rsopt.trial.stopwatch import Stopwatch

    worker = worker_context(work)
    return TrialContext(
        leg,
        worker,
        work.store().folder,
        work.ledger(),
        device_lock,
        Stopwatch(worker.base.device, assigned),
        work.latency_decoder,
        work.latency_device,
        work.throughput,
        work.teacher,
        work.validations,
        work.study().folder,
    )


def _remeasure(leg: Leg, work: WorkerSpec) -> dict[str, Any]:
    """Measures the latency of a leg's architecture with its trained weights; `refused` says why there is none."""
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.trial.remeasure import remeasure_latency

    store, device = work.store(), worker_context(work).base.device
    device_lock = DeviceLock(lock_name(device), purpose=f"last latencies of {work.name}")
    try:
        store.pull_leg(leg.number, leg.stop)
        begin = time.perf_counter()
        context = replace(_trial_context(leg, work, device_lock), throughput=work.last_throughput)
        return {REMEASURE: remeasure_latency(context), "seconds": time.perf_counter() - begin}
    except Exception as error:  # noqa: BLE001 - reported to the user: the study is whole without
        return {"refused": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    finally:
        device_lock.close()
