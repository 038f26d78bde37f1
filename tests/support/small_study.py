"""Makes a whole study in seconds, without Ray: real legs on the shipped base and coloured fields, and a real journal.

Make one: python -m tests.support.small_study FOLDER
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from rsopt.data.read import read
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.model.base import load_base
from rsopt.scores.baselines import baselines_of
from rsopt.trial.context import TrialContext
from rsopt.trial.run_leg import run_leg
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.variant_trainee import VariantTrainee
from rsopt.trial.worker_context import WorkerContext
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.space.load import load_space
from search.study.settings import Settings, StudyMetadata, save_study
from tests.support.example_study import make_settings
from tests.support.fields_dataset import fields_space, write_fields_dataset

SPACE = fields_space(
    name="fields",
    least_llm_layers=6,
    ranking="{choice: [prefix, alternate]}",
    lora="{choice: [llm, both]}",
    llm_rank="[4, 8]",
    epochs=8,
)


def make_study(folder: Path, trials: int = 2, unfinished: bool = True) -> Settings:
    """Search in `folder`/runs; with `unfinished` the last candidate is left at its first rung."""
    (folder / "fields.yaml").write_text(SPACE)
    data_path = write_fields_dataset(folder / "fields", images=60)
    settings = make_settings(
        folder,
        name="fields-1",
        space="fields",
        data=str(data_path),
        trials=trials,
        sampler="random",
        workers=1,
        storage=str(folder / "runs"),
    )
    data = read(data_path)
    space = load_space(folder / "fields.yaml")
    objectives = tuple(o.name for o in space.objectives)
    metadata = StudyMetadata(objectives, baselines_of(data, "val"), str(data_path), 1_700_000_000_000, False, {})
    save_study(settings, metadata)
    warnings.simplefilter("ignore", FutureWarning)
    worker = WorkerContext(load_base("tiny", torch.device("cpu")), data)
    bound = space.bind(worker.base.shape, None)
    optimizer = make_optimizer("random", "end", bound, 0, CostEstimator(space.objectives))
    search = Search(settings.folder, bound, SearchSettings(space.objectives, space.rungs, 0, trials, 1), optimizer)
    device_lock = DeviceLock("small-study", folder / "quiet")
    try:
        while (leg := search.ask()) is not None:
            if unfinished and leg.number == trials + 1 and leg.last:
                break
            ledger, stopwatch = Ledger(settings.ledger), Stopwatch(worker.base.device)
            context = TrialContext(leg, worker, settings.folder, ledger, device_lock, stopwatch)
            search.tell(leg, run_leg(context, VariantTrainee))
    finally:
        device_lock.close()
        search.close()
    return replace(settings)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    make_study(Path(sys.argv[1]))
