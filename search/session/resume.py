"""Continues an existing study."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.scores.split_check import check_split
from search.session.drive import drive, print_note
from search.space.load import load_space
from search.storage.layout import SPACE_FILE
from search.study.resume_options import record, with_changes
from search.study.settings import find_study, load_study, save_study
from search.tracking.uri import database_is_here, tracking_uri


def continue_session(options: argparse.Namespace, typed: Mapping[str, Any]) -> int:
    """Continue a study where it stopped, with the `typed` options that may change, such as more trials."""
    store = find_study(options.storage, options.name)
    begun, metadata = load_study(store.folder)
    settings, changed = with_changes(begun, typed)
    if not database_is_here(settings.tracking_uri):  # the study began on another machine
        settings = replace(settings, tracking_uri=tracking_uri(None, settings.storage))
        print_note(f"MLflow's database is on another machine: runs are written to {settings.tracking_uri}")
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad, verify=settings.data is not None)
    for note in check_split(data, "val"):
        print_note(note)
    if changed:
        save_study(settings, metadata)
        record(settings, begun, changed)
    space = load_space(settings.folder / SPACE_FILE)
    return drive(settings, space, metadata, data, options.address, store)
