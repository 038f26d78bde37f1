"""What a command line asked for, as the settings of a study."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rsopt.errors import UserError
from search.space.load import Space
from search.storage.location import checked_storage
from search.study.settings import Settings, check_name, free_name
from search.tracking.uri import tracking_uri


def settings_of(options: argparse.Namespace, space: Space) -> Settings:
    """What a new study begins with. Raises UserError for a number, a name or a folder that cannot be."""
    check_numbers(options)
    trials = space.trials if options.trials is None else options.trials
    storage = checked_storage(options.storage)
    if options.name is not None:
        check_name(options.name)
    if options.data is not None and not Path(options.data).exists():
        raise UserError(
            f"data folder '{options.data}' does not exist; it must hold dataset_rsicd.json and RSICD_images/"
        )
    return Settings(
        name=options.name or free_name(storage, space.name),
        space=space.name,
        base=options.base
        if options.base == "tiny" or not Path(options.base).is_dir()
        else str(Path(options.base).absolute()),
        data=str(Path(options.data).absolute()) if options.data else None,
        trials=trials,
        sampler=options.sampler,
        seed=options.seed,
        gpus_per_trial=options.gpus_per_trial,
        workers=options.workers,
        tracking_uri=tracking_uri(options.tracking_uri, storage),
        storage=storage,
        latency_ledger=options.latency_ledger,
        skip_bad=options.skip_bad,
        latency_decoder=space.latency_decoder,
        latency_device=options.latency_device,
        halving=not options.no_halving,
        validations=space.validations,
        max_params=None if options.max_params is None else int(options.max_params),
        max_latency_ms=options.max_latency_ms,
        max_memory_gb=options.max_memory_gb,
        hours=options.hours,
        gpu_hours=options.gpu_hours,
        from_study=options.from_study,
        disk_gb=options.disk_gb,
        experiment=os.environ.get("MLFLOW_EXPERIMENT_NAME"),
    )


def check_numbers(options: argparse.Namespace) -> None:
    """Raise UserError for a number that no search can be run with."""
    for name in ("trials", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}")
    if not 0 < options.gpus_per_trial <= 64:
        raise UserError(f"--gpus-per-trial must be above 0 and at most 64, not {options.gpus_per_trial}")
    if options.seed < 0:
        raise UserError(f"--seed must be at least 0, not {options.seed}")
    for name in ("hours", "gpu_hours", "max_params", "max_latency_ms", "max_memory_gb", "disk_gb"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value:g}")
