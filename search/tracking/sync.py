"""MLflow made anew from a study's folder (`search.front --sync`); also what a search writes there when it ends.

The study is the truth and MLflow shows it: runs may be deleted, or another server given, and written again.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from safetensors import safe_open
from safetensors.numpy import save_file

from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.variant import digest
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.data.records import SPLITS, CaptionData
from rsopt.errors import InfrastructureError
from search.html_report.write import write_page
from search.results.front import study_front
from search.storage.layout import PAGE_FILE, RANKINGS_FILE
from search.storage.open import open_store
from search.study.history import CandidateState, History
from search.study.journal import read_history
from search.study.settings import Settings, StudyMetadata, load_study
from search.tracking.followup_runs import free_runs, refit_runs
from search.tracking.mlflow_writer import Tracker
from search.tracking.runs import DataView, StudyView
from search.tracking.study_runs import study_view
from search.tracking.uri import check_uri


def project(
    settings: Settings, metadata: StudyMetadata, history: History, data: CaptionData | None, front: dict[str, Any]
) -> str | None:
    """Write a study that nobody drives to MLflow, with page, data and members' adapters; what went wrong, or None."""
    state = "interrupted" if any(c.state == "interrupted" for c in history) else "complete"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            view = final_view(settings, metadata, history, state, data, Path(scratch), front)
            Tracker(settings.tracking_uri, settings.mlflow_experiment, settings.name).write(view)
        except (MlflowException, OSError) as error:
            return f"MLflow: {str(error).splitlines()[0][:200]}"
    return None


def final_view(
    settings: Settings,
    metadata: StudyMetadata,
    history: History,
    state: str,
    data: CaptionData | None,
    scratch: Path,
    front: dict[str, Any],
) -> StudyView:
    """What MLflow shows at the end: the running view and, beside it, all that is worth keeping."""
    view = study_view(settings, metadata, history, int(time.time() * 1000), state, front=front)
    children = []
    for child, c, entry in zip(view.children, history, front["trials"], strict=True):
        kept = _member(settings, c, entry, scratch / child.key) if entry["pareto"] else {}
        children.append(replace(child, files=kept))
    files = dict(view.files)
    for name in (PAGE_FILE, RANKINGS_FILE):
        if (path := settings.folder / name).is_file():
            files[name] = path.read_text("utf-8")
    children += [*refit_runs(settings, metadata, history), *free_runs(settings, metadata, history)]
    return replace(view, children=children, files=files, data=None if data is None else data_view(data, metadata))


def data_view(data: CaptionData, metadata: StudyMetadata) -> DataView:
    """The data set as MLflow lists inputs: its digest is of image names, splits and captions."""
    content = [[s.image_id, s.split, [[c.text, c.count] for c in s.captions]] for s in data.samples]
    profile = {f"{split}_images": len(data.split(split)) for split in SPLITS}
    profile |= {"captions": sum(len(s.references) for s in data.samples)}
    return DataView(data.name[:200], digest(content), metadata.data_path, profile)


def _member(settings: Settings, c: CandidateState, entry: dict[str, Any], scratch: Path) -> dict[str, Path]:
    """A member of the front as its adapter and a manifest: megabytes, where a model would be gigabytes."""
    scratch.mkdir()
    manifest = {"study": settings.name, "base": settings.base, "trial": c.number, **c.candidate.to_json()}
    (scratch / "manifest.json").write_text(json.dumps(manifest | {"metrics": entry["metrics"]}, indent=1))
    files = {"member/manifest.json": scratch / "manifest.json"}
    open_store(settings.storage, settings.name).fetch_rung(c.number, c.reached)
    checkpoint = rung_folder(settings.folder, c.number, c.reached) / STATE
    if checkpoint.is_file():
        adapter: dict[str, np.ndarray] = {}
        with safe_open(
            checkpoint, framework="numpy"
        ) as file:  # weights alone: the optimiser's moments are twice as large
            for name in file.keys():  # noqa: SIM118
                if name.startswith("weight/"):
                    adapter[name.removeprefix("weight/")] = file.get_tensor(name)
        save_file(adapter, scratch / "adapter.safetensors")
        files["member/adapter.safetensors"] = scratch / "adapter.safetensors"
    return files


def sync(folder: Path, uri: str | None = None) -> str:
    """Write the study in `folder` to MLflow at `uri` (by default its own), any number of times; returns where.

    Raises UserError where the server does not answer, InfrastructureError where it refuses.
    """
    settings, metadata = load_study(folder)
    settings = replace(settings, tracking_uri=uri or settings.tracking_uri)
    check_uri(settings.tracking_uri)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    front = study_front(folder)
    write_page(folder, data=data, front=front)
    if problem := project(settings, metadata, read_history(folder), data, front):
        raise InfrastructureError(problem)
    return settings.tracking_uri
