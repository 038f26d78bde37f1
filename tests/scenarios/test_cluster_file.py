"""Files for clusters: ray_cluster.yaml is valid, the RayJob and the Slurm script are too, documented commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from search.run import parser

ROOT = Path(__file__).parents[2]
# Keys of KubeRay's CRD (ray.io/v1) that our job uses; KubeRay drops unknown keys silently.
RAY_JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
RAY_CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
CONTAINER = {"name", "image", "env", "resources", "volumeMounts"}


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return prepare_config(yaml.safe_load((ROOT / "ray_cluster.yaml").read_text()))


def test_rays_validator_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    validate_config(cluster)
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert cluster["available_node_types"]["gpu_worker"]["max_workers"] > 0


def test_the_cluster_needs_a_token_and_sends_no_usage_statistics(cluster: dict[str, Any]) -> None:
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        started = [command for command in commands if " start " in command]
        assert len(started) == 1
        assert "RAY_AUTH_MODE=token" in started[0] and "RAY_USAGE_STATS_ENABLED=0" in started[0]
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][1]
    assert any(path.endswith(".ray/auth_token") for path in cluster["file_mounts"])
    assert {".git/**", ".venv/**", "runs/**"} <= set(cluster["rsync_exclude"])


def test_every_node_installs_what_jobs_and_the_dashboard_need(cluster: dict[str, Any]) -> None:
    assert cluster["setup_commands"][-1].endswith("make install-cluster")  # ray[tune] alone takes no jobs
    rules = subprocess.run(["make", "-n", "install-cluster"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "'.[cluster]'" in rules.stdout or "Nothing to be done" in rules.stdout
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["cluster"] == ["ray[default]"]


def test_the_ray_job_is_valid_and_starts_a_search() -> None:
    job = yaml.safe_load((ROOT / "docs" / "ray_job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and set(job["spec"]) == RAY_JOB
    spec = job["spec"]["rayClusterSpec"]
    assert set(spec) == RAY_CLUSTER and spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == version("ray")
    head = spec["headGroupSpec"]
    assert set(head) == {"rayStartParams", "template"} and head["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert set(group) == WORKER_GROUP and group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert set(container) == CONTAINER
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert all(isinstance(e["value"], str) for e in container["env"]), "Kubernetes takes strings only"
    script = shlex.split(job["spec"]["entrypoint"])[2]
    subprocess.run(["sh", "-n", "-c", script], check=True)
    started = re.findall(r"search\.run ([^;]+);", script)
    assert len(started) == 2
    for options in started:
        parsed = parser().parse_args(shlex.split(options))
        assert parsed.address == "auto" and parsed.storage == "/shared/runs" and parsed.name == "rsicd"


def test_the_slurm_script_is_valid_and_uses_a_token() -> None:
    script = ROOT / "docs" / "slurm.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    assert "RAY_AUTH_MODE=token" in script.read_text() and "ray stop" not in script.read_text()


def documented() -> list[list[str]]:
    """All commands of docs/cluster.md, split into words."""
    text = (ROOT / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    plain = [line.removeprefix("(umask 077 && ").replace(" > /dev/null)", "") for line in lines]
    return [shlex.split(line, comments=True) for line in plain if not line.startswith("#")]


def test_ray_accepts_every_ray_command_of_the_docs() -> None:
    from ray.scripts.scripts import cli

    names = set()
    for words in documented():
        if not words[0].endswith("/ray"):
            continue
        command, arguments = cli, words[1:]
        while hasattr(command, "commands"):
            name, *arguments = arguments
            command = command.commands[name]
            names.add(name)
        # Only parses and checks the options.
        with command.make_context(name, [str(ROOT / a) if a == "ray_cluster.yaml" else a for a in arguments]):
            pass
    assert {"up", "down", "submit", "stop", "logs", "dashboard", "attach", "exec", "get-auth-token"} <= names


def test_every_search_of_the_docs_has_valid_options() -> None:
    searches = 0
    for words in documented():
        for word in [" ".join(words), *words]:
            for options in re.findall(r"search\.run ((?:--[^'|;&]*))$", word):
                parser().parse_args(shlex.split(options))
                searches += 1
    assert searches >= 4
