"""A worker's part of a refit: its leg as in a search and, behind the last one, the test split."""

from __future__ import annotations

import platform
from typing import Any

from rsopt.core.candidate import Leg
from rsopt.core.inference import InferenceConfig
from rsopt.core.objectives import Measurement
from rsopt.errors import InfrastructureError, UserError, refusal
from search.execution.messages import Refused, decode, encode
from search.execution.work import WorkerSpec
from search.execution.worker import resident_of, run_trial
from search.results.refits import AS_TRAINED


def run_refit(config: dict[str, Any], work: WorkerSpec) -> dict[str, str]:
    """Run the leg in `config["leg"]` and, after the last, score the test split. `work.part` is the folder of the refits.

    Either is found done when it is: whatever was killed between the two trains nothing again.
    """
    result, leg = run_trial(config, work), Leg.from_json(config["leg"])
    if not leg.last or not isinstance(decode(result["outcome"]), Measurement):
        return result
    try:
        _test(leg, work)
    except (InfrastructureError, UserError) as error:
        return {"outcome": encode(Refused(" ".join(str(error).split())))}
    except OSError as error:
        if (refused := refusal(error)) is None:
            raise
        return {"outcome": encode(Refused(f"{platform.node()}: {refused}"))}
    return result


def _test(leg: Leg, work: WorkerSpec) -> None:
    from rsopt.core.leg_files import STATE, rung_folder, scores_file
    from rsopt.latency.device import quiet_name
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.model.build import build, merged
    from rsopt.model.export import load_weights
    from rsopt.trial.held_out_scores import scores_on_test

    worker, folder = resident_of(work), work.store().folder
    base, device_lock = worker.base, DeviceLock(quiet_name(worker.base.device))
    try:
        with device_lock.shared():
            built = build(base, leg.candidate.variant, leg.seed)
            load_weights(built, rung_folder(folder, leg.number, leg.stop) / STATE)
            path = scores_file(folder, leg.number, AS_TRAINED)
            form = InferenceConfig(base.dtype)
            scores_on_test(
                path, base, merged(built), worker.data, form, lambda images: device_lock.yield_to_measurement()
            )
    finally:
        device_lock.close()
