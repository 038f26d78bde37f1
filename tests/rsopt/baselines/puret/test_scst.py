"""Self-critical training: the reward is CIDEr-D over the training references, and the gradient goes where it pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsopt.baselines.puret.scst import Reward, policy_loss
from rsopt.scores.cider import CiderScorer

REFERENCES = {
    "1": ["many green trees are near a river", "a river with green trees"],
    "2": ["a plane is parked at the airport", "two planes at an airport"],
    "3": ["some boats are in the port", "boats in a port"],
}


def test_the_reward_is_cider_with_the_end_as_a_word() -> None:
    reward = Reward(REFERENCES)
    said = ["a river with green trees", "a plane is parked", "boats in a port"]
    ends = {i: [f"{text} <end>" for text in texts] for i, texts in REFERENCES.items()}
    expected = CiderScorer(ends).score({i: f"{text} <end>" for i, text in zip("123", said, strict=True)})[1]
    assert np.array_equal(reward(["1", "2", "3"], said, [True] * 3), expected)


def test_a_caption_cut_off_earns_less_than_one_that_ends() -> None:
    reward = Reward(REFERENCES)
    (ended,), (cut,) = (reward(["1"], ["a river with green trees"], [end]) for end in (True, False))
    assert ended > cut > 0


def test_drawn_captions_better_than_the_greedy_one_become_likelier() -> None:
    logits = torch.zeros(2, 3, 5, requires_grad=True)
    drawn = torch.tensor([[2, 1, 0], [3, 0, 0]])
    policy_loss(logits, drawn, torch.tensor([1.5, -0.5])).backward()
    step = -logits.grad
    assert step[0, 0, 2] > 0 and step[0, 1, 1] > 0 and step[0, 2, 0] > 0  # the end is a choice too
    assert step[1, 0, 3] < 0 and step[1, 1, 0] < 0
    assert (step[1, 2] == 0).all()  # nothing is said behind an end


def test_the_loss_is_the_mean_over_words_said() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    drawn, advantage = torch.tensor([[2, 1, 0], [3, 0, 0]]), torch.tensor([1.5, -0.5])
    log = logits.log_softmax(-1)
    by_hand = 1.5 * (log[0, 0, 2] + log[0, 1, 1] + log[0, 2, 0]) - 0.5 * (log[1, 0, 3] + log[1, 1, 0])
    assert policy_loss(logits, drawn, advantage).item() == pytest.approx(-by_hand.item() / 5, rel=1e-5)
