"""ray_cluster.yaml passes Ray's own validator, and its head runs no trials."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "ray_cluster.yaml"


def test_rays_validator_accepts_it() -> None:
    config = prepare_config(yaml.safe_load(FILE.read_text()))
    validate_config(config)
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert config["available_node_types"]["gpu_worker"]["max_workers"] > 0
