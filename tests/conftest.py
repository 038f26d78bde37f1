"""Shared fixtures: a random base of real classes, small enough for numeric tests, with norms that are not the identity."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.core.inference import GENERATE
from rsopt.latency import ledger
from rsopt.latency.protocol import Protocol
from rsopt.model.base import Base
from rsopt.model.configs import shape_of
from search.study.settings import Settings
from search.tracking.environment import configure
from tests.support.random_base import random_config

torch.set_num_threads(1)
configure()


def pytest_configure() -> None:
    """Ctrl-C as in a terminal: a shell that starts the suite in the background has it ignored, and so would all we start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: whatever begins last keeps one of two cores waiting."""
    longest = ("test_end_to_end", "test_earlier_studies", "test_killed_baseline", "test_any_folder")
    items.sort(key=lambda item: not any(name in item.nodeid for name in longest))


@pytest.fixture(scope="session", autouse=True)
def undisturbed() -> Iterator[None]:
    """Tests share the cores, so their latency sessions are short and count whatever else runs; not so in processes they start."""
    for_device = Protocol.for_device

    def short(device: torch.device, new_tokens: int, decoder: str = GENERATE) -> Protocol:
        found = for_device(device, new_tokens, decoder)
        return replace(found, width=1.0, drift=100.0, waited=1.0, used_by_others=1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Protocol, "for_device", short)
        patch.setattr(ledger, "SLOW", 100.0)
        yield


@pytest.fixture
def random_base() -> Base:
    """A random captioner: every parameter is drawn, norms and biases included, so that no layer is near the identity."""
    torch.manual_seed(0)
    config = random_config()
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    model.requires_grad_(False).eval()
    return Base("random", model, None, shape_of(config), "float32")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A real study on the shipped base: zero-shot, full depth, one candidate, one left at its first rung. Not to be changed."""
    from tests.support.small_study import make_study

    return make_study(tmp_path_factory.mktemp("small"))
