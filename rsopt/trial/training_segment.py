"""A leg's stretch of training: kept as soon as it ends, so that a death before its measurement costs no training."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from rsopt.common.atomic_files import creating
from rsopt.common.out_of_memory import exceeded
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import CURVE, STATE, rung_folder, trained_folder
from rsopt.model.build import Built
from rsopt.training.losses import Losses
from rsopt.training.trainer import Trainer, TrainResult
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.teacher import taught_losses
from rsopt.trial.trainer_setup import curve_of, memory_watched, trainer_for, tuning_set
from rsopt.trial.worker_context import WorkerContext

TRAINING = "training.json"  # result and seconds
_LOG = logging.getLogger(__name__)


def train_segment(
    leg: Leg,
    built: Built,
    worker: WorkerContext,
    folder: Path,
    clock: Stopwatch,
    yield_device: Callable[[], None],
    teacher: Leg | None,
    validations: int,
    study: Path,
) -> tuple[Trainer, TrainResult]:
    """Train `leg` from its start to its stop, or take up what another process trained and did not live to measure.

    Checkpoint, curve and result are in `trained_folder` then. The arguments are run_leg's.
    """
    with clock.timed("features"):
        data = tuning_set(leg, built, worker)
    kept = trained_folder(folder, leg.number, leg.stop)
    losses: Losses | None = None
    if leg.candidate.recipe.distills and not kept.exists():
        with clock.timed("teacher"):
            losses = taught_losses(leg, built, data, worker, study, teacher, yield_device)
    trainer = trainer_for(leg, built, data, worker, exceeded(folder), losses)
    if kept.exists():
        try:
            return trainer, _take_up(kept, trainer, clock)
        except ValueError as error:  # the file system lost a part of it
            _LOG.warning("trained again: %s", error)
            shutil.rmtree(kept)
            return train_segment(leg, built, worker, folder, clock, yield_device, teacher, validations, study)
    if leg.start > 0:
        trainer.load(rung_folder(folder, leg.number, leg.start) / STATE)
    curve = curve_of(leg, trainer, worker, validations)

    def between_steps() -> None:
        clock.mark("first_step")
        yield_device()
        curve.step()

    with clock.timed("train"), memory_watched(leg, trainer, worker, folder):
        result = trainer.run(leg.start, leg.stop, between_steps)
    clock.seconds["train"] -= curve.seconds  # looking on is no training

    with creating(kept) as aside:
        aside.mkdir(parents=True)
        trainer.save(aside / STATE)
        (aside / CURVE).write_text(json.dumps(curve.to_json(result.losses)))
        seconds = {name: clock.seconds[name] for name in ("first_step", "train") if name in clock.seconds}
        told = {"result": asdict(replace(result, losses=())), "recomputed": trainer.recompute, "seconds": seconds}
        (aside / TRAINING).write_text(json.dumps(told))
    return trainer, result


def _take_up(kept: Path, trainer: Trainer, clock: Stopwatch) -> TrainResult:
    """Raises ValueError where the files are not whole."""
    trainer.load(kept / STATE)
    told = json.loads((kept / TRAINING).read_text())
    trainer.recompute = told["recomputed"]
    trainer.drop(False)
    clock.seconds |= told["seconds"]
    return TrainResult(**told["result"] | {"losses": ()})
