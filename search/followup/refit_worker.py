"""A worker's part of a refit: its leg as in a search and, after the last one, scores on the test split."""

from __future__ import annotations

from typing import Any

from rsopt.core.candidate import Leg
from rsopt.core.inference import InferenceConfig
from rsopt.core.objectives import Measurement
from search.execution.messages import decode, trial_result
from search.execution.work import WorkerSpec
from search.execution.worker import run_trial
from search.execution.worker_cache import worker_context
from search.results.refits import AS_TRAINED


def run_refit(config: dict[str, Any], work: WorkerSpec) -> dict[str, str]:
    """Run the leg in `config["leg"]` and, after the last, score the test split. `work.part` is the folder of the refits.

    Whatever is finished already is not done again, wherever an earlier attempt was killed.
    """
    result, leg = run_trial(config, work), Leg.from_json(config["leg"])
    if not leg.last or not isinstance(decode(result["outcome"]), Measurement):
        return result

    def score() -> str:
        _score_test_split(leg, work)
        return result["outcome"]

    return trial_result(score)


def _score_test_split(leg: Leg, work: WorkerSpec) -> None:
    from rsopt.core.leg_files import scores_file
    from rsopt.latency.device import lock_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.trial.held_out_scores import scores_on_test
    from rsopt.trial.trained_model import load_trained

    worker, folder = worker_context(work), work.store().folder
    base, device_lock = worker.base, DeviceLock(lock_name(worker.base.device), purpose=f"search.refit of {work.name}")
    try:
        with device_lock.shared():
            path, model = scores_file(folder, leg.number, AS_TRAINED), load_trained(base, leg, folder)
            form = InferenceConfig(base.dtype)
            scores_on_test(path, base, model, worker.data, form, lambda _: device_lock.yield_to_measurement())
    finally:
        device_lock.close()
