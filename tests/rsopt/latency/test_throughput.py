"""Throughput: the best batch size of those that fit, measured once an architecture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import OBJECTIVES
from rsopt.core.recipe import Recipe
from rsopt.core.variant import Architecture, BaseShape, Variant
from rsopt.latency import throughput as module
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol
from rsopt.latency.subject import random_image
from rsopt.latency.throughput import THROUGHPUT_FILE, Throughput, known_throughput, measure_throughput
from rsopt.model.base import Base
from search.optimizer.cost_estimator import CostEstimator


@pytest.fixture
def base(random_base: Base) -> Base:
    tokenizer: Any = SimpleNamespace(pad_token_id=1)
    return replace(random_base, processor=SimpleNamespace(tokenizer=tokenizer))  # type: ignore[arg-type]


def measured(base: Base, folder: Path, decoder: str = "shared_prefix") -> Throughput:
    device_lock = DeviceLock("throughput", folder)
    protocol = Protocol.for_device(torch.device("cpu"), 3, decoder)
    try:
        return measure_throughput(base.model, base, random_image(base), protocol, device_lock)
    finally:
        device_lock.close()


@pytest.mark.parametrize("decoder", ["generate", "shared_prefix"])
def test_the_best_batch_counts(base: Base, tmp_path: Path, decoder: str) -> None:
    found = measured(base, tmp_path, decoder)
    sizes = [int(size) for size in found.tried]
    assert sizes == [4**i for i in range(len(sizes))] and sizes[-1] <= module.LARGEST["cpu"]
    assert found.captions_per_s == max(found.tried.values()) == found.tried[str(found.batch)]
    assert found.metrics() == {"captions_per_s": found.captions_per_s, "captions_batch": found.batch}


def test_what_does_not_fit_is_not_taken(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module._speed

    def up_to_four(model: Any, on: Base, tiles: torch.Tensor, protocol: Protocol) -> float:
        if len(tiles) > 4:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")
        whole(model, on, tiles, protocol)
        return float(len(tiles))  # larger is faster

    monkeypatch.setattr(module, "_speed", up_to_four)
    monkeypatch.setitem(module.SECONDS, "cpu", 100.0)
    found = measured(base, tmp_path)
    assert (found.batch, list(found.tried)) == (4, ["1", "4"])


def test_it_is_measured_once_an_architecture(tmp_path: Path) -> None:
    times = []

    def measure(disturbed: bool = False) -> Throughput:
        times.append(1)
        return Throughput(10.0 + len(times), 8, {"8": 11.0}, disturbed)

    one, other = Architecture(1, 2, 3), Architecture(1, 2, 4)
    assert known_throughput(tmp_path, {}, one, lambda: measure(True)).disturbed, "and not written down"
    first = known_throughput(tmp_path, {}, one, measure)
    with (tmp_path / THROUGHPUT_FILE).open("a") as out:
        out.write('{"key": "torn')
    assert known_throughput(tmp_path, {}, one, measure) == first
    assert known_throughput(tmp_path, {}, other, measure) != first
    assert known_throughput(tmp_path, {"device": "x"}, one, measure) != first
    assert len(times) == 4
    assert all(json.loads(line)["key"] for line in (tmp_path / THROUGHPUT_FILE).read_text().splitlines())


def test_a_search_takes_the_shallower_for_the_faster_before_it_measured_any() -> None:
    objective = OBJECTIVES["captions_per_s"]
    estimates = CostEstimator([OBJECTIVES["cider"], objective])
    estimates.learn(())
    deep = Candidate(Variant.full(BaseShape(4, 6, 8)), Recipe())
    shallow = Candidate(Variant((0, 1, 2, 3), (0, 1), (0, 1)), Recipe())
    assert estimates.minimised_costs(shallow) < estimates.minimised_costs(deep)  # minimised
    assert objective.minimised(3.0) < objective.minimised(2.0)
