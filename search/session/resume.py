"""TODO."""

from __future__ import annotations

import argparse
from dataclasses import replace

from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.errors import UserError
from search.session.drive import drive, print_note
from search.session.options import check_numbers
from search.space.load import load_space
from search.storage.layout import SPACE_FILE
from search.study.resume_options import record, with_changes
from search.study.settings import find_study, load_study, save_study
from search.tracking.uri import database_is_here, tracking_uri


def continue_session(options: argparse.Namespace) -> int:
    """Go on with a study where it stood, with more trials and the like if asked."""
    if not options.name:
        raise UserError("--resume needs the --name of the study")
    check_numbers(options)
    store = find_study(options.storage, options.name)
    begun, metadata = load_study(store.folder)
    settings, changed = with_changes(begun, options.given)
    if not database_is_here(settings.tracking_uri):  # the study began on another machine: MLflow gets all of it anew
        settings = replace(settings, tracking_uri=tracking_uri(None, settings.storage))
        print_note(f"MLflow's database is on another machine: runs are written to {settings.tracking_uri}")
    if changed:
        save_study(settings, metadata)
        record(settings, begun, changed)
    space = load_space(settings.folder / SPACE_FILE)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad, verify=settings.data is not None)
    return drive(settings, space, metadata, data, options.address, store)
