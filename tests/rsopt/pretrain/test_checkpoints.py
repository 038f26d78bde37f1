"""The loop of a stage: wherever it stops, the next call continues to the same weights."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rsopt.pretrain import checkpoints as module
from rsopt.pretrain.checkpoints import Checkpoints, run_stage

STEPS = 7


def _train(folder: Path, stops: list[int]) -> Tensor:
    """Weights after a stage that fails at each of the steps `stops` once and is then called again."""
    stops = list(stops)
    while True:
        torch.manual_seed(0)
        linear = nn.Linear(3, 1)
        optimizer = torch.optim.AdamW(linear.parameters(), lr=0.1)

        def loss(step: int, linear: nn.Linear = linear) -> Tensor:
            if step in stops:
                stops.remove(step)
                raise KeyboardInterrupt
            torch.manual_seed(step)
            return (linear(torch.randn(4, 3)) - 1).square().mean()

        try:
            run_stage("look", linear, optimizer, STEPS, loss, Checkpoints.open(folder, {"seed": 0}), lambda _: None)
        except KeyboardInterrupt:
            continue
        return linear.weight.detach()


@settings(deadline=None, max_examples=20)
@given(stops=st.lists(st.integers(0, STEPS - 1), max_size=4), seconds=st.sampled_from([-1.0, 1e9]))
def test_stopping_anywhere_changes_nothing(stops: list[int], seconds: float) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as one, TemporaryDirectory() as two:
        patch.setattr(module, "SECONDS", seconds)
        assert torch.equal(_train(Path(one), stops), _train(Path(two), []))


def test_steps_before_a_checkpoint_are_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 1e9)  # only the interruption stores one
    taken: list[int] = []
    linear = nn.Linear(1, 1)

    def loss(step: int) -> Tensor:
        if step == 4 and 4 not in taken:
            taken.append(step)
            raise KeyboardInterrupt
        taken.append(step)
        return linear(torch.ones(1)).sum()

    def run() -> None:
        optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
        run_stage("look", linear, optimizer, 6, loss, Checkpoints.open(tmp_path, {}), lambda _: None)

    with pytest.raises(KeyboardInterrupt):
        run()
    run()
    assert taken == [0, 1, 2, 3, 4, 4, 5]
