"""Measures missing inference variants on Ray's workers, one trial a task, and publishes the study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rsopt.core.inference import default_inference_variants
from rsopt.core.variant import Dtype
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.model.quantization import check_available
from search.execution.progress import status_line
from search.execution.ray_runtime import cluster_address, ray_session
from search.execution.tune_loop import run_tasks
from search.execution.work import WorkerSpec
from search.followup.variant_worker import measure_variants
from search.results.build_front import study_front
from search.results.inference_variants import InferenceVariant, unmeasured
from search.results.picks import recorded_latency
from search.study.journal import read_history
from search.study.settings import load_study
from search.tracking.publish import publish


def measure_missing(folder: Path, trials: list[int], options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Measures the missing inference variants of these trials. Returns whether it was interrupted, and a line for each fault."""
    settings, metadata = load_study(folder)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    check_available("int8")
    history = read_history(folder)
    faults = list[str]()
    workers = settings.workers if options.workers is None else options.workers
    work = WorkerSpec.of(settings, metadata)
    with ray_session(cluster_address(options.address), settings.gpus_per_trial, workers) as (resources, stop):
        recorded = recorded_latency(settings.ledger, history[trials[0]])
        native: Dtype = recorded["dtype"] if recorded else "bfloat16" if resources.gpus else "float32"
        tasks: list[tuple[WorkerSpec, list[InferenceVariant]]] = []
        for number in trials:
            variants = [
                InferenceVariant(number, history[number].candidate, history[number].reached, form)
                for form in default_inference_variants(native)
            ]
            if variants := unmeasured(folder, variants):
                tasks.append((work, variants))
        left = sum(len(variants) for _, variants in tasks)
        with status_line(f"{left} free points to measure") as say:
            try:
                for (_, variants), outcomes in run_tasks(measure_variants, tasks, resources, stop):
                    left -= len(variants)
                    say(f"{left} free points to measure")
                    faults += [f"trial {variants[0].trial} does not run as {form}: {fault}" for form, fault in outcomes if fault]
            except KeyboardInterrupt:
                return True, faults
    if problem := publish(settings, metadata, history, data, study_front(folder)):
        sys.stderr.write(f"MLflow not written ({problem})\n")
    return False, faults
