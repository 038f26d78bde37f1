"""A worker's part of free points: a trial rebuilt from its checkpoint, run in one form after another."""

from __future__ import annotations

from rsopt.common.atomic_files import write_json
from rsopt.errors import InfrastructureError, UserError
from search.execution.work import WorkerSpec
from search.execution.worker import resident_of
from search.results.inference_variants import InferenceVariant, MeasuredVariant
from search.storage.layout import INFERENCE_VARIANTS_FOLDER, LEDGER_FILE


def measure_points(work: WorkerSpec, points: list[InferenceVariant]) -> list[tuple[str, str | None]]:
    """A worker's part: measure these points of one trial, each written down as soon as it is known. (form, fault) of each.

    A form in which the model does not run is recorded with its reason: no other trial is held up by it.
    """
    from rsopt.common.cache import cache_dir
    from rsopt.core.leg_files import STATE, rung_folder
    from rsopt.errors import CandidateError
    from rsopt.latency.device import quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.ledger import Ledger
    from rsopt.model.build import build, merged
    from rsopt.model.export import load_weights
    from rsopt.trial.inference_variant import measure_inference_variant

    worker, study = resident_of(work), work.store().folder
    first = points[0]
    built = build(worker.base, first.candidate.variant)
    if built.peft is not None:
        checkpoint = rung_folder(study, first.trial, first.reached) / STATE
        if not checkpoint.is_file():
            raise InfrastructureError(f"the checkpoint of trial {first.trial} is gone: {checkpoint}")
        load_weights(built, checkpoint)
    plain, device_lock = merged(built), DeviceLock(quiet_name(worker.base.device))
    (study / INFERENCE_VARIANTS_FOLDER).mkdir(exist_ok=True)
    ledger = Ledger(study / INFERENCE_VARIANTS_FOLDER / LEDGER_FILE, cache_dir() / "latency_forms.jsonl")
    told: list[tuple[str, str | None]] = []
    for point in points:
        try:
            measurement = measure_inference_variant(
                plain,
                point.candidate.variant,
                point.form,
                worker,
                device_lock,
                study / INFERENCE_VARIANTS_FOLDER,
                ledger,
                work.ledger(),
                work.latency_decoder,
            )
        except (CandidateError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            measurement = {"fault": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        variant = MeasuredVariant(point.trial, point.form, **measurement)
        write_json(point.file(study), variant.to_json())
        told.append((point.form.name, variant.fault))
    device_lock.close()
    return told
