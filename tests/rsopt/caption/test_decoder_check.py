"""The decoders' self-check: equal ones pass, a wrong one is found out, and the process then captions the slow way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rsopt.caption.decoder_check import Agreement, compare_decoders
from rsopt.caption.decoders import shared_prefix, transformers_generate
from rsopt.core.inference import Generation
from rsopt.model.base import Base
from rsopt.trial.worker_context import WorkerContext


@pytest.fixture
def base(random_base: Base) -> Base:
    return replace(random_base, processor=SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=1)))  # type: ignore[arg-type]


def test_ours_agrees(base: Base) -> None:
    found = compare_decoders(base.model, base, torch.randn(6, 5, 24), Generation(max_new_tokens=12))
    assert (found.images, found.same, found.worst, found.good) == (6, 6, 0.0, True)


def test_a_decoder_that_mixes_images_up_is_found_out(base: Base) -> None:
    def wrong(*args: Any, **options: Any) -> torch.Tensor:
        return shared_prefix(*args, **options).flip(0)

    found = compare_decoders(base.model, base, 3 * torch.randn(6, 5, 24), Generation(max_new_tokens=12), fast=wrong)
    assert found.same < 6
    assert found.worst > found.tolerance
    assert not found.good


@pytest.mark.parametrize(("worst", "expected"), [(0.0, shared_prefix), (1.0, transformers_generate)])
def test_a_process_takes_the_slow_way_where_the_fast_one_is_wrong(base: Base, worst: float, expected: Any) -> None:
    worker = WorkerContext(base, None, _agreement=Agreement(4, 3, worst, 1e-4))  # type: ignore[arg-type]
    assert worker.decode is expected
