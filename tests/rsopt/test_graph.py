"""Decode steps of fixed shape: transformers' captions, batch after batch; captured where there is a card to capture on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from transformers import OPTForCausalLM

import rsopt.graph
from rsopt.base import Base
from rsopt.caption import shared_prefix
from rsopt.graph import Captured, FixedSteps
from rsopt.selfcheck import captured_agree
from tests.rsopt.test_beam import differing, language_model, our_ids, prefixes, transformers_ids


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
            differ += differing(ours, theirs)
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
    assert differing(fixed_ids(model, batches, 5, 20)[1], transformers_ids(model, batches[1], 5, 20)) > 0


def test_only_a_shape_that_comes_again_is_kept(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    real = FixedSteps.__init__

    def noted(self: FixedSteps, llm: OPTForCausalLM, beams: int, most: int, prefix: torch.Tensor) -> None:
        made.append((*prefix.shape[:2], beams, most))
        real(self, llm, beams, most, prefix)

    monkeypatch.setattr(rsopt.graph.FixedSteps, "__init__", noted)
    decode = Captured()
    for number, images in enumerate((6, 6, 6, 2)):  # three whole batches and the rest
        prefix = prefixes(base.model.language_model, images, 5, number)
        expected = shared_prefix(base.model, base, prefix, 5, 8)
        assert torch.equal(decode(base.model, base, prefix, 5, 8), expected)
    assert made == [(6, 5, 5, 8)]


def test_a_card_that_cannot_capture_is_told_and_does_without(
    base: Base, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    features = torch.randn(4, 5, 24)
    assert captured_agree(base.model, base, features)

    def refused(self: FixedSteps) -> torch.Tensor:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(FixedSteps, "_step", refused)
    assert not captured_agree(base.model, base, features)
    assert "cannot be captured here: operation not permitted when stream is capturing" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: capturing needs a CUDA device")
def test_captured_steps_on_a_card() -> None:
    model = language_model(3, end_bias=1.0).cuda()
    batches = [prefixes(model, 7, 5, number).cuda() for number in (0, 1, 2)]
    for prefix, ours in zip(batches, fixed_ids(model, batches, 5, 20), strict=True):
        assert differing(ours, our_ids(model, prefix, 5, 20)) == 0
