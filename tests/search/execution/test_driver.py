"""Real local Ray with two pretended GPUs: both are used, and it does not matter which worker runs a leg."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import ray

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Measurement
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from search.execution import driver
from search.execution.messages import REMEASURE, encode
from search.execution.ray_runtime import configure
from search.execution.remeasurement import Remeasurement
from search.execution.work import WorkerSpec
from search.execution.worker import run_trial
from search.study.settings import Settings
from tests.support.fields_dataset import write_fields_dataset
from tests.support.simulated_search import open_search

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    """A local Ray that believes in two GPUs; nothing in it touches one."""
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    configure()
    ray.init(
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": environment},
    )
    yield
    ray.shutdown()


def sleeping_trial(config: dict[str, Any], work: WorkerSpec) -> dict[str, str]:
    """A leg, or the last session of an architecture, that takes a while and writes down who ran it."""
    leg = Leg.from_json(config.get("leg") or config[REMEASURE])
    begun = time.time()
    time.sleep(1.5)
    kind = "last" if REMEASURE in config else "leg"
    line = f"{kind} {os.getpid()} {ray.get_gpu_ids()} {leg.number} {leg.stop} {begun} {time.time()}\n"
    with (work.store().folder / "legs.txt").open("a") as file:
        file.write(line)
    depth = len(leg.candidate.variant.llm_layers)
    metrics = {"cider": 1.0 * depth, "latency_ms": 1.0 * depth, "params": 1.0}
    if kind == "last":
        session = {"latency_ms": 2.0 * depth, "latency_low_ms": 1.9 * depth, "latency_high_ms": 2.1 * depth}
        return {"outcome": json.dumps({REMEASURE: session, "seconds": 1.5})}
    return {"outcome": encode(Measurement(leg.stop, metrics, {}))}


class Quiet:
    """No progress line."""

    def tick(self) -> None:
        """Nothing."""


def test_both_gpus_are_used_by_the_same_two_workers(two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "run_trial", sleeping_trial)
    search = open_search(tmp_path, trials=4, slots=2)
    made = driver.Driver.__new__(driver.Driver)
    made.settings = Settings(  # type: ignore[assignment]
        "s", "small", "tiny", None, 4, "tpe", 0, 1.0, 2, "", str(tmp_path.parent), None, False
    )
    (tmp_path.parent / "s").mkdir()
    made.stop = driver.InterruptHandler()
    made.metadata = type("F", (), {"data_path": "none", "objectives": ()})()  # type: ignore[assignment]
    last = Remeasurement(search, lambda _: None)
    made._fit(search, driver.Resources(2, 1, 1.0), lambda: None, Quiet(), last)  # type: ignore[arg-type]
    assert search.done and {c.state for c in search.history} == {"complete"}
    lines = [line.split() for line in (tmp_path.parent / "s" / "legs.txt").read_text().splitlines()]
    legs, sessions = ([words for kind, *words in lines if kind == which] for which in ("leg", "last"))
    assert len(legs) == 1 + 2 * 5
    assert {gpu for _, gpu, *_ in legs} == {"[0]", "[1]"}
    workers = {pid for pid, *_ in legs}
    assert len(workers) == 2  # a process each, kept from leg to leg
    assert overlap(legs)
    depths = {len(c.candidate.variant.llm_layers) for c in search.history}
    assert len(sessions) == len(depths) >= 3, "each architecture of the front once"
    assert {pid for pid, *_ in sessions} == workers and overlap(sessions), "shared out among the workers"
    assert {c.final.metrics["latency_ms"] for c in search.history if c.final} == {2.0 * depth for depth in depths}


def overlap(lines: list[list[str]]) -> bool:
    """Whether two of these ran at the same time."""
    spans = sorted((float(begun), float(ended)) for *_, begun, ended in lines)
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))


def test_a_leg_may_run_on_another_worker_than_the_one_before(two_gpus: None, tmp_path: Path) -> None:
    write_fields_dataset(tmp_path / "data")
    lora = LoraSpec(LoraPart(8, 16.0, "all_linear"), LoraPart(8, 16.0, "all_linear"), train_projection=True)
    candidate = Candidate(Variant(tuple(range(4)), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 7), lora), Recipe(3e-3, 20.0, 8))

    @ray.remote(num_gpus=1, num_cpus=1)
    class Worker:
        def run(self, leg: Leg, name: str) -> tuple[int, str]:
            work = WorkerSpec("tiny", str(tmp_path / "data"), str(tmp_path), name, False)
            return os.getpid(), run_trial({"leg": leg.to_json()}, work)["outcome"]

    one, other = Worker.remote(), Worker.remote()
    halves = [Leg(3, candidate, 0.0, 0.5, 11), Leg(3, candidate, 0.5, 1.0, 11)]
    first, _ = ray.get(one.run.remote(halves[0], "apart"))
    second, apart = ray.get(other.run.remote(halves[1], "apart"))
    whole, together = ray.get(one.run.remote(Leg(3, candidate, 0.0, 1.0, 11), "whole"))
    assert first == whole != second
    found = [decode(outcome).metrics for outcome in (apart, together)]
    # How fast it went, and the loss over the last stretch alone, differ; what came out does not.
    differ = {"images_per_s", "tokens_per_s", "train_s", "train_loss"}
    same = [{k: v for k, v in m.items() if k not in differ and not k.startswith("latency_")} for m in found]
    assert same[0] == same[1] and len(same[0]) > 10
    captions = [tmp_path / name / "candidates" / "0003" / "rung-1.0000" / "captions.json" for name in ("apart", "whole")]
    assert captions[0].read_text() == captions[1].read_text()


def decode(outcome: str) -> Measurement:
    """A leg's outcome, which must be a measurement."""
    from search.execution.messages import decode as decoded

    found = decoded(outcome)
    assert isinstance(found, Measurement), found
    return found
