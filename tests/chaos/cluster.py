"""Ray nodes on this machine: a head without workers, as in ray_cluster.yaml, and nodes that can be killed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.chaos.command import HOOKS, REPOSITORY

STORE_BYTES = 100 * 2**20


class LocalCluster:
    """A head and `nodes` nodes of `cpus` CPUs each; `variables[at]` are added to the environment of node `at`."""

    def __init__(self, nodes: int, cpus: int, variables: Sequence[Mapping[str, str]] = ()) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.cpus, self.variables = cpus, variables
        self.nodes: list[Any] = [self.add(at) for at in range(nodes)]
        self.cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self, at: int) -> Any:
        """Start node number `at`."""
        variables = dict(self.variables[at]) if self.variables else None
        return self.cluster.add_node(num_cpus=self.cpus, object_store_memory=STORE_BYTES, env_vars=variables)

    def replace(self, at: int) -> None:
        """Kill a node without warning and start another in its place."""
        self.cluster.remove_node(self.nodes[at], allow_graceful=False)
        self.nodes[at] = self.add(at)


@contextmanager
def local_cluster(
    nodes: int, cpus: int, environment: Mapping[str, str], variables: Sequence[Mapping[str, str]] = ()
) -> Iterator[LocalCluster]:
    """Start a cluster for the length of a block; `environment` is that of all its processes."""
    before = dict(os.environ)
    os.environ.update(dict(environment) | {"PYTHONPATH": f"{HOOKS}:{REPOSITORY}", "RAY_AUTH_MODE": "disabled"})
    cluster = None
    try:
        cluster = LocalCluster(nodes, cpus, variables)
        yield cluster
    finally:
        if cluster is not None:
            cluster.cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
