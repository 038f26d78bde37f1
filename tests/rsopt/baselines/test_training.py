"""Training in stages: rates, and legs that join without a seam, across stages too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from rsopt.baselines.schedules import Plan, plans
from rsopt.baselines.training import Stage, Training
from rsopt.core.candidate import BASELINES
from rsopt.errors import CandidateError

PLANS = (Plan("first", 2, 4, 0.05, 3, "noam"), Plan("second", 3, 5, 0.02, 0, "cosine"))


def training(model: nn.Module, images: int = 11, broken: bool = False) -> Training:
    inputs = torch.randn(images, 3, generator=torch.Generator().manual_seed(0))

    def loss(chosen: Sequence[int]) -> torch.Tensor:
        noise = torch.rand(())  # as dropout would
        found = ((model(inputs[torch.tensor(chosen)]) - noise) ** 2).mean()
        return found * torch.nan if broken else found

    def stage(plan: Plan, number: int) -> Stage:
        return Stage(plan, images, dict(model.named_parameters()), loss, seed=5, number=number)

    return Training(PLANS, images, [partial(stage, plan, number) for number, plan in enumerate(PLANS)])


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("at", [0.2, 0.4, 0.41, 0.8])
def test_two_legs_are_one(at: float, tmp_path: Path) -> None:
    whole, parts = model(), model()
    assert training(whole).run(0.0, 1.0, lambda: None).steps == 6 + 9
    first = training(parts)
    first.run(0.0, at, lambda: None)
    first.save(tmp_path / "state.safetensors")
    again = model()  # another process: everything from the file
    second = training(again)
    second.load(tmp_path / "state.safetensors", at)
    second.run(at, 1.0, lambda: None)
    assert torch.equal(whole.weight, again.weight) and torch.equal(whole.bias, again.bias)


def test_a_loss_that_is_no_number_is_the_candidates_fault() -> None:
    with pytest.raises(CandidateError, match="step 0 of stage first"):
        training(model(), broken=True).run(0.0, 1.0, lambda: None)


def test_an_epoch_shows_every_image_once() -> None:
    seen: list[int] = []

    def loss(chosen: Sequence[int]) -> torch.Tensor:
        seen.extend(chosen)
        return one.weight.sum()

    one = model()
    stage = Stage(Plan("s", 1, 4, 0.1), 11, dict(one.named_parameters()), loss, 0, 0)
    for step in range(stage.steps):
        stage.step(step)
    assert sorted(seen) == list(range(11))


def test_rates_rise_and_fall_as_the_papers_have_them() -> None:
    noam = plans("puret", tiny=False)[0]
    rates = [noam.rate(step, 100_000) for step in (0, 4_999, 9_999, 39_999)]
    # Noam (1706.03762) at width 512: width ** -0.5 * min(step ** -0.5, step * warmup ** -1.5)
    expected = [512**-0.5 * min(step**-0.5, step * 10_000**-1.5) for step in (1, 5_000, 10_000, 40_000)]
    assert rates == pytest.approx(expected)
    contrast, _, finetune = plans("bita", tiny=False)
    assert contrast.rate(99_999, 100_000) == pytest.approx(1e-5, rel=1e-3)
    assert finetune.rate(99_999, 100_000) < 1e-10
    assert max(finetune.rate(step, 10_000) for step in range(0, 10_000, 100)) == pytest.approx(1e-5, rel=1e-2)


def test_every_baseline_has_its_stages() -> None:
    for tiny in (True, False):
        assert [p.name for p in plans("puret", tiny)] == ["cross_entropy", "self_critical"]
        assert plans("puret_xe", tiny) == plans("puret", tiny)[:1]
        assert [p.name for p in plans("bita", tiny)] == ["contrast", "prefix", "finetune"]
    assert set(BASELINES) == {"puret_xe", "puret", "bita"}
