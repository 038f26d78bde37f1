"""Trains missing refits on Ray, summarises them and publishes the study."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Leg
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.scores.baselines import baselines_of
from rsopt.scores.split_check import check_split
from search.engine.legs import FULL_DEPTH, teacher_leg
from search.execution.progress import status_line
from search.execution.ray_runtime import cluster_address, ray_session
from search.execution.tune_loop import Tick, fit
from search.execution.work import WorkerSpec
from search.followup.refit_legs import RefitLegs, plan_refits
from search.followup.refit_summary import RefitSummary, refit_summary
from search.followup.refit_worker import run_refit
from search.results.build_front import study_front
from search.results.front import Front
from search.results.refits import Refit, read_plan
from search.results.verdict import next_step
from search.space.load import load_space
from search.storage.layout import REFIT_SUMMARY_FILE, REFITS_FOLDER, SPACE_FILE
from search.storage.location import study_command
from search.study.journal import read_history
from search.study.settings import Settings, StudyMetadata, load_study
from search.study.writer_lock import lock_folder
from search.tracking.publish import publish


@dataclass(frozen=True, slots=True)
class RefitOutcome:
    """How a session ended. `notes` are lines to print; `stopped` says why it stopped by itself, None where it did not."""

    summary: RefitSummary
    notes: list[str]
    interrupted: bool
    stopped: str | None


def refit(folder: Path, front: Front, picked: list[int], wanted: list[int], options: argparse.Namespace) -> RefitOutcome:
    """Trains the missing refits, and compares the picked trials to their neighbours and to the unpruned model.

    Args:
        folder: The study's folder.
        front: The study's front.
        picked: Numbers of the trials to compare.
        wanted: Numbers of the trials to train again.
        options: `seeds`, `epochs`, `workers` and `address` of the command line.
    """
    settings, metadata = load_study(folder)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    for warning in check_split(data, "test"):
        sys.stderr.write(f"{warning}\n")
    history = read_history(folder)
    (folder / REFITS_FOLDER).mkdir(exist_ok=True)
    with closing(lock_folder(folder / REFITS_FOLDER)):
        refits = plan_refits(folder, [history[n] for n in wanted], options.seeds, options.epochs, settings.seed)
        interrupted, stopped = _train(
            settings, metadata, refits, teacher_leg(history[FULL_DEPTH].candidate, settings.seed), options
        )
        plan = read_plan(folder)  # with the faults of this session
        beside = baselines_of(data, "test")
        summary = refit_summary(front, folder, [plan[r.number] for r in refits], picked, beside)
        write_json(folder / REFITS_FOLDER / REFIT_SUMMARY_FILE, summary.to_json())
    notes = [f"refits     {folder / REFITS_FOLDER / REFIT_SUMMARY_FILE}"]
    if problem := publish(settings, metadata, history, data, study_front(folder)):
        notes.append(f"MLflow     not written ({problem})")
    if stopped:
        notes.append(f"stopped because {stopped}")
    export = study_command(settings.storage, settings.name, "export")
    again = "the same command continues"
    done = next_step(front, f"{export} --pick {picked[0]} --out {settings.name}-refit")
    notes.append(f"next       {again if interrupted or stopped else done}")
    return RefitOutcome(summary, notes, interrupted, stopped)


def _train(
    settings: Settings, metadata: StudyMetadata, refits: list[Refit], teacher: Leg, options: argparse.Namespace
) -> tuple[bool, str | None]:
    """Runs the missing legs. Returns whether it was interrupted, and why it stopped by itself, if it did.

    Args:
        settings: The study's.
        metadata: The study's.
        refits: The refits to finish.
        teacher: Leg whose checkpoint distils, if a recipe asks for it.
        options: `workers` and `address` of the command line.
    """
    rungs = load_space(settings.folder / SPACE_FILE).rungs
    if RefitLegs(settings.folder, refits, rungs, 1).done:
        return False, None
    workers = settings.workers if options.workers is None else options.workers
    work = WorkerSpec.of(settings, metadata, teacher, REFITS_FOLDER)
    with ray_session(cluster_address(options.address), settings.gpus_per_trial, workers) as (resources, stop):
        source = RefitLegs(settings.folder, refits, rungs, resources.slots)
        with status_line(f"{len(refits)} refits, {source.legs_left} legs to go") as say:

            def changed() -> None:
                say(f"{len(refits)} refits, {source.legs_left} legs to go")

            try:
                trainable = partial(run_refit, work=work)
                stopped = fit(source, trainable, resources, settings.folder / "ray", changed, Tick(lambda: None, stop))
            except KeyboardInterrupt:
                return True, None
    sys.stderr.write(f"{source.legs_done} legs ended\n")
    return False, stopped
