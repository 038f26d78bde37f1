"""The settings of a new study, from the command line and its space."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rsopt.errors import UserError
from search.space.load import Space
from search.storage.location import checked_storage
from search.study.options import options_of
from search.study.settings import Settings, check_name, free_name
from search.tracking.uri import tracking_uri


def settings_of(options: argparse.Namespace, space: Space) -> Settings:
    """The settings a new study begins with. Raises UserError for a name, storage or data folder that cannot be used."""
    storage = checked_storage(options.storage)
    if options.name is not None:
        check_name(options.name)
    if options.data is not None and not Path(options.data).exists():
        raise UserError(f"data folder '{options.data}' does not exist; it must hold dataset_rsicd.json and RSICD_images/")
    local_base = options.base != "tiny" and Path(options.base).is_dir()
    as_typed = {name: getattr(options, name) for name in options_of(Settings)}
    derived = {
        "name": options.name or free_name(storage, space.name),
        "space": space.name,
        "base": str(Path(options.base).absolute()) if local_base else options.base,
        "data": str(Path(options.data).absolute()) if options.data else None,
        "trials": options.trials or space.trials,
        "tracking_uri": tracking_uri(options.tracking_uri, storage),
        "storage": storage,
        "latency_decoder": space.latency_decoder,
        "validations": space.validations,
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME"),
    }
    return Settings(**{**as_typed, **derived})
