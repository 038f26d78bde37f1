"""The CPUs and GPUs of a leg, and how many legs run at once. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from rsopt.errors import UserError

GB_PER_CPU_WORKER = 1.5  # a worker's libraries and the embedded base; more workers than memory holds would be killed


@dataclass(frozen=True, slots=True)
class Resources:
    """CPUs and GPUs of one leg, and the number of legs that run at once."""

    slots: int
    cpus: float
    gpus: float


def plan_resources(
    cpus: float,
    gpus: float,
    memory_bytes: float,
    gpus_per_trial: float,
    workers: int | None,
    cluster: bool = False,
    worker_gb: float = GB_PER_CPU_WORKER,
) -> Resources:
    """Plan one worker for each GPU share where there are GPUs, else one for each core as far as memory allows.

    Args:
        cpus: Cores of the machine or cluster.
        gpus: Its GPUs.
        memory_bytes: Its free memory.
        gpus_per_trial: GPU share of a worker.
        workers: Largest number of workers; None for as many as fit. A cluster gets exactly as many, since it may grow.
        cluster: Whether it is a cluster. One without nodes yet is asked for nodes with GPUs.
        worker_gb: Memory of a worker on a CPU, GB.

    Raises:
        UserError: The cluster has no nodes, and `workers` is None.
    """
    nodes = bool(cpus or gpus)
    if not nodes and workers is None:
        raise UserError("the cluster has no workers yet: --workers says how many to ask for, each with its share of a GPU")
    share = gpus_per_trial if gpus or not nodes else 0
    fitting = int(gpus / share) if share else max(1, min(int(cpus), int(memory_bytes / worker_gb / 1e9)))
    slots = workers if cluster and workers else min(fitting, workers or fitting)
    return Resources(slots, max(1.0, cpus // slots) if share and slots <= fitting else 1, share)
