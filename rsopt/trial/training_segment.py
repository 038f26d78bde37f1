"""Training part of a leg. Its result is saved as soon as it ends, so that a death before measurement costs no training."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from rsopt.common.atomic_files import creating
from rsopt.core.leg_files import STATE, rung_folder, trained_folder
from rsopt.training.trainer import TrainResult
from rsopt.trial.context import TrialContext
from rsopt.trial.trainee import Trainee

TRAINING_FILE = "training.json"  # result and seconds
_LOG = logging.getLogger(__name__)


def train_segment(context: TrialContext, trainee: Trainee) -> TrainResult:
    """Train from the leg's start to its stop, or load what another process trained and did not live to measure.

    Afterwards `trained_folder` holds the trained state and the result.
    """
    leg, stopwatch = context.leg, context.stopwatch
    trained = trained_folder(context.folder, leg.number, leg.stop)
    with stopwatch.timed("features"):
        trainee.load_data()
    if trained.exists():
        try:
            return _load(context, trainee, trained)
        except ValueError as error:  # the file system lost a part of it
            _LOG.warning("trained again: %s", error)
            shutil.rmtree(trained)
    start = rung_folder(context.folder, leg.number, leg.start) / STATE if leg.start > 0 else None
    result = trainee.train(start)

    with creating(trained) as aside:
        aside.mkdir(parents=True)
        trainee.save(aside)
        seconds = {name: stopwatch.seconds[name] for name in ("first_step", "train") if name in stopwatch.seconds}
        training = {"result": asdict(replace(result, losses=())), "recomputed": trainee.recomputed, "seconds": seconds}
        (aside / TRAINING_FILE).write_text(json.dumps(training))
    return result


def _load(context: TrialContext, trainee: Trainee, trained: Path) -> TrainResult:
    """Raises ValueError where the files are damaged; the trainee is untrained then."""
    training = json.loads((trained / TRAINING_FILE).read_text())
    trainee.load(trained)
    trainee.recomputed = training["recomputed"]
    context.stopwatch.seconds |= training["seconds"]
    return TrainResult(**training["result"] | {"losses": ()})
