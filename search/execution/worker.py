"""The worker's side: one Ray trial runs one leg. Base, data and features stay in the process from trial to trial."""

from __future__ import annotations

import json
import platform
import queue
import shutil
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from rsopt.core.candidate import Leg
from rsopt.core.leg_files import trained_folder
from rsopt.core.objectives import Fault, Measurement
from rsopt.errors import InfrastructureError, UserError, refusal
from search.execution.messages import REMEASURE, Refused, encode
from search.storage.layout import LEDGER_FILE

if TYPE_CHECKING:
    pass
from search.execution.work import WorkerSpec

_RESIDENT: dict[WorkerSpec, Any] = {}


def run_trial(config: dict[str, Any], work: WorkerSpec) -> dict[str, str]:
    """Run the leg in `config["leg"]`; a candidate's own fault is returned, what is not its fault escapes to Ray.

    Except what this machine refuses and a person can put right (no base, no room): that is returned too, with its reason.
    After the last leg: measure the latencies of those in `config[REMEASURE]` again.
    """
    try:
        if REMEASURE in config:
            return {"outcome": json.dumps(_again(list(map(Leg.from_json, config[REMEASURE])), work))}
        leg = Leg.from_json(config["leg"])
        if isinstance(outcome := _run(leg, work), Fault):  # nobody takes up what failed
            shutil.rmtree(trained_folder(work.store().folder, leg.number, leg.stop), ignore_errors=True)
        return {"outcome": encode(outcome)}
    except (InfrastructureError, UserError) as error:
        return {"outcome": encode(Refused(" ".join(str(error).split())))}
    except OSError as error:
        if (refused := refusal(error)) is None:
            raise
        return {"outcome": encode(Refused(f"{platform.node()}: {refused}"))}


def rank_layers(work: WorkerSpec) -> Iterator[tuple[str, int, int] | dict[str, Any]]:
    """Score the layers over base and data: progress (what, done, of), and at last the rankings as JSON."""
    from rsopt.trial.layer_ranking import measure_rankings

    news: queue.Queue[tuple[str, int, int] | dict[str, Any]] = queue.Queue()
    failure: list[BaseException] = []

    def score() -> None:
        try:
            found = measure_rankings(resident_of(work), lambda what, done, of: news.put((what, done, of)))
            news.put(found.to_json())
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

    from rsopt.baselines.run_leg import run_baseline
    from rsopt.common.out_of_memory import is_shortage, release
    from rsopt.errors import CandidateError
    from rsopt.latency.device import quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.trial.run_leg import run_leg

    worker, store = resident_of(work), work.store()
    if leg.start > 0:
        store.fetch_rung(leg.number, leg.start)  # where it ran on another node
    store.fetch_rung(leg.number, leg.stop)  # finished when nobody listened
    device_lock = DeviceLock(quiet_name(worker.base.device))

    def kept(measurement: Measurement) -> Measurement:
        store.keep_rung(leg.number, leg.stop)
        return measurement

    try:
        where = (
            leg,
            worker,
            store.folder,
            work.ledger(),
            device_lock,
            assigned,
            work.latency_decoder,
            work.latency_device,
        )
        if leg.candidate.baseline is None:
            run = partial(run_leg, *where, work.throughput, work.teacher, work.validations, work.study().folder)
        else:
            run = partial(run_baseline, *where)
        try:
            return kept(run())
        except (CandidateError, RuntimeError, MemoryError) as error:
            if not (is_shortage(error) or (isinstance(error, CandidateError) and error.kind == "memory")):
                raise
        release()  # what neighbours took may be free by now: once more, from the last checkpoint
        return kept(run())
    except CandidateError as error:
        return Fault(leg.stop, error.kind, error.reason)  # type: ignore[arg-type]
    except UserError:
        raise
    except MemoryError as error:
        return Fault(leg.stop, "memory", f"the host's memory ended: {error}")
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.AcceleratorError):
            raise  # the card's fault
        if is_shortage(error):
            return Fault(leg.stop, "memory", str(error).splitlines()[0][:300])
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Fault(
            leg.stop, "exception", f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
        )
    finally:
        device_lock.close()


def _again(legs: Sequence[Leg], work: WorkerSpec) -> dict[str, Any]:
    """Latencies of these candidates with their trained weights, by trial, if the device that counts is this worker's.

    `refused` says why the rest is missing, if any is: nothing that was measured is lost with it.
    """
    from rsopt.latency.device import device_name, quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.trial.remeasure import measure_again

    worker, store = resident_of(work), work.store()
    device, found = worker.base.device, dict[int, dict[str, Any]]()
    if work.latency_device not in (None, device_name(device)):
        return {REMEASURE: found}
    ledger, number = Ledger(store.folder / LEDGER_FILE), legs[0].number
    with FileLock(f"{ledger.path}.lock"):
        store.share_ledger()  # latencies that other nodes measured
    device_lock = DeviceLock(quiet_name(device))
    try:
        for leg in legs:
            number = leg.number
            store.fetch_rung(leg.number, leg.stop)
            again = measure_again(leg, worker, store.folder, ledger, device_lock, work.latency_decoder)
            if again is not None:
                found[leg.number] = again.to_json()
    except Exception as error:  # noqa: BLE001 - told to the user: the study is whole without
        return {
            REMEASURE: found,
            "refused": f"trial {number}: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
        }
    finally:
        device_lock.close()
    return {REMEASURE: found}


def resident_of(work: WorkerSpec) -> Any:
    """The process's one base with its data; another study's is dropped."""
    if work not in _RESIDENT:
        _RESIDENT.clear()
        _RESIDENT[work] = _load(work)
    return _RESIDENT[work]


def _load(work: WorkerSpec) -> Any:
    import torch
    from transformers.utils import logging

    from rsopt.data.generated.mini import data_here
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.model.hub import fetch
    from rsopt.trial.worker_context import WorkerContext

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # a worker is one core; the others have workers of their own
    fetch(work.base)  # where this node shares no cache with the driver's
    return WorkerContext(load_base(work.base), read(data_here(work.data), skip_bad=work.skip_bad))
