"""Starting and stopping Ray: environment, import path of its workers, resources, signals."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray

from search.execution.resources import GB_PER_CPU_WORKER, Resources, plan_resources
from search.execution.signals import InterruptHandler, restored_signals

CODE = Path(__file__).parents[2]  # the folder that holds the packages search and rsopt


def cluster_address(address: str | None) -> str | None:
    """The option's address, else $RAY_ADDRESS as in all of Ray; None where a local Ray is to be started."""
    return address or os.environ.get("RAY_ADDRESS") or None


def configure() -> None:
    """Set Ray's environment and log levels for this process and the workers it starts. Called before `ray.init`."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "0")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Ctrl-C must raise KeyboardInterrupt in our process, and not end Tune's loop as if it were finished. Tune's own output,
    # loggers and metric checks would print between our lines.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    # On a full disk it prints a traceback about a file that nothing here reads; the disk's refusal is reported in one line.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)


@contextmanager
def ray_session(
    address: str | None, gpus_per_trial: float, workers: int | None, worker_gb: float = GB_PER_CPU_WORKER
) -> Iterator[tuple[Resources, InterruptHandler]]:
    """Run a block on a local Ray, or on the cluster at `address`, that is stopped or left at its end.

    Gives the resources of a leg and the handler of Ctrl-C and SIGTERM, whose former handlers are restored as well.
    """
    configure()
    stop = InterruptHandler()
    with restored_signals(), _started_ray(address) as (cpus, gpus, memory):
        stop.watch()
        cluster = address is not None
        yield plan_resources(cpus, gpus, memory, gpus_per_trial, workers, cluster=cluster, worker_gb=worker_gb), stop


@contextmanager
def _started_ray(address: str | None) -> Iterator[tuple[float, float, float]]:
    """Start or join Ray; gives its CPUs, GPUs and bytes of memory."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # By name: left to itself, Ray would join whatever cluster runs on this machine.
        options |= {"address": "local", "include_dashboard": False, "object_store_memory": 100 * 2**20}
    else:
        options |= {"address": address}
    # Ray puts the current folder first on its workers' import path, where a package of the user's that happens to be named
    # `search` would hide ours. In this folder it puts first what this process has imported.
    with chdir(CODE):
        ray.init(**options)
    try:
        held = ray.cluster_resources()
        memory = held.get("memory", 0.0) if address else psutil.virtual_memory().available
        yield held.get("CPU", 0.0), held.get("GPU", 0.0), memory
    finally:
        ray.shutdown()
