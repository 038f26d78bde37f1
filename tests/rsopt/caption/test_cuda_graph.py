"""Decode steps of fixed shape: transformers' captions, batch after batch; captured where there is a card to capture on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import OPTForCausalLM

from rsopt.caption import cuda_graph
from rsopt.caption import decoder_check as selfcheck
from rsopt.caption.cuda_graph import CapturedDecoder, FixedSteps
from rsopt.caption.decoder_check import Agreement, captured_is_faster
from rsopt.caption.decoders import shared_prefix
from rsopt.core.inference import Generation
from rsopt.model.base import Base
from rsopt.trial import worker_context as worker
from rsopt.trial.worker_context import WorkerContext
from tests.support.language_models import count_differing, language_model, our_ids, prefixes, transformers_ids


@pytest.fixture
def base(random_base: Base) -> Base:
    return replace(random_base, processor=SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=1)))  # type: ignore[arg-type]


def fixed_ids(model: OPTForCausalLM, batches: list[torch.Tensor], beams: int, most: int) -> list[torch.Tensor]:
    """All batches by one object, as in an evaluation."""
    with torch.inference_mode():
        steps = FixedSteps(model, beams, most, batches[0])
    return [our_ids(model, batch, beams, most, steps=steps) for batch in batches]


@pytest.mark.parametrize(("beams", "most"), [(5, 20), (3, 2), (1, 12)])
def test_batch_after_batch_writes_what_transformers_does(beams: int, most: int) -> None:
    differ = ended = 0
    for seed, (before, projected, eager) in enumerate(product((True, False), repeat=3)):
        model = language_model(seed, before, projected, eager, end_bias=1.0)
        batches = [prefixes(model, 7, 5, number) for number in (0, 1, 2)]
        for prefix, ours in zip(batches, fixed_ids(model, batches, beams, most), strict=True):
            theirs = transformers_ids(model, prefix, beams, most)
            differ += count_differing(ours, theirs)
            ended += int((theirs == 4).any(1).sum())
    assert differ == 0
    assert most == 2 or ended > 0  # images that are finished before others stay in the batch


def test_what_a_batch_leaves_behind_must_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: with the last batch's slots in sight, the next one's captions are others."""
    model = language_model(1, end_bias=1.0)
    batches = [prefixes(model, 12, 5, number) for number in (0, 1)]
    real = FixedSteps.prefill

    def seen(self: FixedSteps, prefix: torch.Tensor) -> torch.Tensor:
        logits = real(self, prefix)
        self.mask.zero_()
        return logits

    monkeypatch.setattr(FixedSteps, "prefill", seen)
    assert count_differing(fixed_ids(model, batches, 5, 20)[1], transformers_ids(model, batches[1], 5, 20)) > 0


def test_only_a_shape_that_comes_again_is_kept(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    real = FixedSteps.__init__

    def noted(self: FixedSteps, llm: OPTForCausalLM, beams: int, most: int, prefix: torch.Tensor) -> None:
        made.append((*prefix.shape[:2], beams, most))
        real(self, llm, beams, most, prefix)

    monkeypatch.setattr(cuda_graph.FixedSteps, "__init__", noted)
    decode = CapturedDecoder()
    for number, images in enumerate((6, 6, 6, 2)):  # three whole batches and the rest
        prefix = prefixes(base.model.language_model, images, 5, number)
        expected = shared_prefix(base.model, base, prefix, Generation(5, 8))
        assert torch.equal(decode(base.model, base, prefix, Generation(5, 8)), expected)
    assert made == [(6, 5, 5, 8)]


def test_a_card_that_cannot_capture_is_told_once_and_does_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: FixedSteps) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    model = language_model(1, end_bias=1.0)
    batches = [prefixes(model, 7, 5, number) for number in (0, 1)]
    monkeypatch.setattr(FixedSteps, "_capture", refused)
    with torch.inference_mode():
        steps = FixedSteps(model, 5, 20, batches[0])
    steps._capturing = True  # as on a card
    for prefix in batches:
        assert count_differing(our_ids(model, prefix, 5, 20, steps=steps), transformers_ids(model, prefix, 5, 20)) == 0
    messages = [record.message for record in caplog.records]
    assert messages == ["decode steps cannot be captured here: operation not permitted when stream is capturing"]

    def short(self: FixedSteps) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FixedSteps, "_capture", short)
    steps._capturing = True
    with pytest.raises(torch.OutOfMemoryError):  # whoever captions takes a smaller batch
        our_ids(model, batches[0], 5, 20, steps=steps)


@pytest.mark.parametrize(
    ("works", "flipped", "seconds", "pays"),
    [
        (True, False, (2.0, 1.0), True),
        (True, False, (1.0, 2.0), False),
        (True, True, (2.0, 1.0), False),
        (False, False, (2.0, 1.0), False),
    ],
)
def test_captured_steps_must_work_be_right_and_be_faster(
    base: Base, monkeypatch: pytest.MonkeyPatch, works: bool, flipped: bool, seconds: tuple[float, float], pays: bool
) -> None:
    taken, real = iter(seconds), CapturedDecoder.__call__
    monkeypatch.setattr(CapturedDecoder, "works", property(lambda self: works))
    monkeypatch.setattr(selfcheck, "_seconds", lambda *args: next(taken))
    if flipped:
        monkeypatch.setattr(CapturedDecoder, "__call__", lambda *args: real(*args).flip(0))
    assert captured_is_faster(base.model, base, 3 * torch.randn(6, 5, 24)) is pays


def test_a_process_asks_once_whether_to_capture_and_again_where_memory_was_short(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool | Exception] = [torch.OutOfMemoryError("CUDA out of memory"), True, False]

    def asked(*args: Any) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    card = SimpleNamespace(device=torch.device("cuda"), model=None, shape=SimpleNamespace(vision_layers=2))
    monkeypatch.setattr(worker, "captured_is_faster", asked)
    monkeypatch.setattr(WorkerContext, "features", lambda self, split, layers: torch.zeros(8, 5, 24))
    held = WorkerContext(card, None, _agreement=Agreement(4, 4, 0.0, 1e-4))  # type: ignore[arg-type]
    assert held.decode is shared_prefix
    first, second = held.decode, held.decode
    assert isinstance(first, CapturedDecoder) and isinstance(second, CapturedDecoder) and first is not second
    assert answers == [False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: capturing needs a CUDA device")
@pytest.mark.parametrize("beams", [1, 5])
def test_captured_steps_on_a_card(beams: int) -> None:
    model = language_model(3, end_bias=1.0).cuda()
    batches = [prefixes(model, 7, 5, number).cuda() for number in (0, 1, 2)]
    with torch.inference_mode():
        steps = FixedSteps(model, beams, 20, batches[0])
    for prefix in batches:
        assert count_differing(our_ids(model, prefix, beams, 20, steps=steps), our_ids(model, prefix, beams, 20)) == 0
    assert steps.graph is not None
