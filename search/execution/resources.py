"""Resources: what one leg takes of a machine or a cluster, and how many legs run at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rsopt.errors import UserError

GB_PER_CPU_WORKER = 1.5  # a worker's libraries and the embedded base; more workers than memory holds would be killed


@dataclass(frozen=True, slots=True)
class Resources:
    """What one leg takes, and how many legs run at once."""

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
    """A worker a GPU share where there are GPUs, else one a core as far as memory goes; never more than `workers`.

    A `cluster` may grow: there `workers` says how many, whatever its nodes hold now, and where there are no nodes yet they
    are asked to bring GPUs. Raises UserError where neither nodes nor `workers` say how many.
    """
    nodes = bool(cpus or gpus)
    if not nodes and workers is None:
        raise UserError(
            "the cluster has no workers yet: --workers says how many it shall get, each with its share of a GPU"
        )
    share = gpus_per_trial if gpus or not nodes else 0
    there = int(gpus / share) if share else max(1, min(int(cpus), int(memory_bytes / worker_gb / 1e9)))
    slots = workers if cluster and workers else min(there, workers or there)
    return Resources(slots, max(1.0, cpus // slots) if share and slots <= there else 1, share)
