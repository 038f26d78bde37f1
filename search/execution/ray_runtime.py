"""TODO."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import ray


def cluster_address(asked: str | None) -> str | None:
    """The option's, else $RAY_ADDRESS as everywhere in Ray; None where a Ray of one's own is started."""
    return asked or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def started_ray(address: str | None) -> Iterator[tuple[float, float, float]]:
    """Start a local Ray, or connect to a cluster; gives CPUs, GPUs and bytes of memory, and shuts down what was started."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # By name: left to itself, Ray would join whatever cluster runs on this machine.
        options |= {"address": "local", "include_dashboard": False, "object_store_memory": 100 * 2**20}
    else:
        options |= {"address": address}
    ray.init(**options)
    try:
        held = ray.cluster_resources()
        memory = held.get("memory", 0.0) if address else psutil.virtual_memory().available
        yield held.get("CPU", 0.0), held.get("GPU", 0.0), memory
    finally:
        ray.shutdown()
