"""Publishes a study that nobody drives: front.json, its page, and its runs in MLflow with data and adapters.

The study's folder is the truth. MLflow shows it: runs may be deleted, or another server named, and written again.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from mlflow.exceptions import MlflowException
from safetensors import safe_open
from safetensors.numpy import save_file

from rsopt.common.atomic_files import write_json
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.variant import digest
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.data.records import SPLITS, CaptionData
from rsopt.errors import InfrastructureError
from search.html_report.write import write_page
from search.results.build_front import study_front
from search.results.front import Front, FrontEntry
from search.storage.layout import FRONT_FILE, PAGE_FILE, RANKINGS_FILE
from search.storage.open import open_store
from search.study.history import History
from search.study.journal import read_history, read_trials
from search.study.settings import Settings, StudyMetadata, load_study
from search.study.trial_records import TrialTimes
from search.tracking.followup_runs import inference_variant_runs, refit_runs
from search.tracking.mlflow_writer import Tracker
from search.tracking.runs import DataView, StudyView
from search.tracking.study_runs import session_end, study_view
from search.tracking.uri import check_uri


def publish(
    settings: Settings, metadata: StudyMetadata, history: History, data: CaptionData, front: Front, problem: str | None = None
) -> str | None:
    """Writes front.json, the page and MLflow's runs. Returns why MLflow was not written; None where it was.

    Args:
        settings: of the study; its tracking URI says where MLflow is.
        metadata: of the study.
        history: its candidates.
        data: its data, for the page's pictures and as the runs' input.
        front: its front, with what the study's folder adds to it.
        problem: why MLflow refused before, if it did: then it is not called again.
    """
    write_json(settings.folder / FRONT_FILE, front.to_json())
    write_page(settings.folder, data=data, front=front)
    if problem is not None:
        return problem
    with tempfile.TemporaryDirectory() as scratch:
        try:
            view = final_view(settings, metadata, history, data, front, Path(scratch))
            Tracker(settings.tracking_uri, settings.mlflow_experiment, settings.name).write(view)
        except (MlflowException, OSError) as error:
            return f"MLflow: {str(error).splitlines()[0][:200]}"
    return None


def publish_again(folder: Path, uri: str | None = None) -> str:
    """Publishes the study in `folder` to MLflow at `uri` (by default its own), any number of times, and returns where.

    Raises:
        UserError: the server does not answer.
        InfrastructureError: it refuses.
    """
    settings, metadata = load_study(folder)
    settings = replace(settings, tracking_uri=uri or settings.tracking_uri)
    check_uri(settings.tracking_uri)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    if problem := publish(settings, metadata, read_history(folder), data, study_front(folder)):
        raise InfrastructureError(problem)
    return settings.tracking_uri


def final_view(
    settings: Settings, metadata: StudyMetadata, history: History, data: CaptionData, front: Front, scratch: Path
) -> StudyView:
    """Returns what MLflow shows at the end: the running view, page, rankings, data, members' adapters and follow-up runs.

    Args:
        settings: of the study.
        metadata: of the study.
        history: its candidates.
        data: its data.
        front: its front.
        scratch: a folder for files that MLflow copies.
    """
    state = "interrupted" if any(c.state == "interrupted" for c in history) else "complete"
    times = [TrialTimes.of(trial) for trial in read_trials(settings.folder)]
    ended_ms = session_end(metadata, times)
    view = study_view(settings, metadata, history, times, state, ended_ms, front)
    children = [
        replace(run, files=_member_files(settings, entry, scratch / run.key)) if entry.pareto else run
        for run, entry in zip(view.children, front.trials, strict=True)
    ]
    children += [
        *refit_runs(settings, metadata, history, ended_ms),
        *inference_variant_runs(settings, metadata, history, ended_ms),
    ]
    files = dict(view.files)
    for name in (PAGE_FILE, RANKINGS_FILE):
        if (path := settings.folder / name).is_file():
            files[name] = path.read_text("utf-8")
    return replace(view, children=children, files=files, data=data_view(data, metadata))


def data_view(data: CaptionData, metadata: StudyMetadata) -> DataView:
    """Returns the data set as MLflow lists inputs. Its digest is of image names, splits and captions."""
    content = [[s.image_id, s.split, [[c.text, c.count] for c in s.captions]] for s in data.samples]
    profile = {f"{split}_images": len(data.split(split)) for split in SPLITS}
    profile |= {"captions": sum(len(s.references) for s in data.samples)}
    return DataView(data.name[:200], digest(content), metadata.data_path, profile)


def _member_files(settings: Settings, entry: FrontEntry, scratch: Path) -> dict[str, Path]:
    """Writes a member's adapter and a manifest to `scratch`: megabytes, where a model would be gigabytes."""
    scratch.mkdir()
    manifest = {"study": settings.name, "base": settings.base, "trial": entry.id, **entry.candidate.to_json()}
    (scratch / "manifest.json").write_text(json.dumps(manifest | {"metrics": entry.metrics}, indent=1))
    files = {"member/manifest.json": scratch / "manifest.json"}
    open_store(settings.storage, settings.name).pull_leg(entry.id, entry.rung)
    checkpoint = rung_folder(settings.folder, entry.id, entry.rung) / STATE
    if checkpoint.is_file():
        adapter: dict[str, np.ndarray] = {}
        with safe_open(checkpoint, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                if name.startswith("weight/"):  # the optimiser's moments are twice as large, and stay
                    adapter[name.removeprefix("weight/")] = file.get_tensor(name)
        save_file(adapter, scratch / "adapter.safetensors")
        files["member/adapter.safetensors"] = scratch / "adapter.safetensors"
    return files
