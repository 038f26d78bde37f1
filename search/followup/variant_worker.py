"""A worker's part of the inference variants: one trained trial, measured in one form after another."""

from __future__ import annotations

from rsopt.common.atomic_files import write_json
from rsopt.common.clock import now_ms
from rsopt.core.candidate import Leg
from rsopt.errors import UserError
from search.execution.work import WorkerSpec
from search.execution.worker_cache import worker_context
from search.results.inference_variants import InferenceVariant, MeasuredVariant
from search.storage.layout import INFERENCE_VARIANTS_FOLDER, LEDGER_FILE


def measure_variants(work: WorkerSpec, variants: list[InferenceVariant]) -> list[tuple[str, str | None]]:
    """Measures these variants of one trial and writes each as soon as it is measured. Returns (form, fault) of each.

    A form in which the model does not run is recorded with its reason: the others are still measured.
    """
    from rsopt.common.cache import cache_dir
    from rsopt.errors import CandidateError
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.trial.context import TrialContext
    from rsopt.trial.inference_variant import measure_inference_variant
    from rsopt.trial.stopwatch import Stopwatch
    from rsopt.trial.trained_model import load_trained

    worker, study, first = worker_context(work), work.store().folder, variants[0]
    device = worker.base.device
    leg = Leg(first.trial, first.candidate, 0.0, first.reached, seed=0)
    device_lock = DeviceLock(lock_name(device), purpose=f"search.free of {work.name}")
    with device_lock.shared():
        plain = load_trained(worker.base, leg, study)
    context = TrialContext(leg, worker, study, work.ledger(), device_lock, Stopwatch(device), decoder=work.latency_decoder)
    (study / INFERENCE_VARIANTS_FOLDER).mkdir(exist_ok=True)
    ledger = Ledger(study / INFERENCE_VARIANTS_FOLDER / LEDGER_FILE, cache_dir() / "latency_forms.jsonl")
    faults: list[tuple[str, str | None]] = []
    for variant in variants:
        started_ms = now_ms()
        try:
            measurement = measure_inference_variant(context, plain, variant.form, ledger)
        except (CandidateError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            measurement = {"fault": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        ended_ms = now_ms()
        measured = MeasuredVariant(variant.trial, variant.form, **measurement, started_ms=started_ms, ended_ms=ended_ms)
        write_json(variant.file(study), measured.to_json())
        faults.append((variant.form.name, measured.fault))
    device_lock.close()
    return faults
