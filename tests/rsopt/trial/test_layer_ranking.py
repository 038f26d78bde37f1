"""Measured rankings against slow reference computations on a random model."""

from __future__ import annotations

import itertools

import pytest
import torch

from rsopt.core.ranking import MEASURED, MeasuredRankings
from rsopt.core.variant import Variant
from rsopt.model.base import Base
from rsopt.model.build import build
from rsopt.training.dataset import pack
from rsopt.training.losses import packed_loss
from rsopt.training.trainer import TrainingSet
from rsopt.trial.layer_ranking import Calibration, angular_block, block_influence, greedy, score_layers, score_pairs
from tests.support.token_captions import random_captions


@pytest.fixture
def calibration(random_base: Base) -> Calibration:
    features = torch.randn(20, 5, 24, generator=torch.Generator().manual_seed(3))
    return Calibration(random_base, TrainingSet(features, random_captions(5, images=20)), pad=1)


def built_loss(base: Base, calibration: Calibration, llm: tuple[int, ...], qformer: tuple[int, ...]) -> float:
    """The loss of a variant that `build` makes, all images in one batch."""
    variant = Variant((0, 1, 2), qformer, llm)
    batch = pack(calibration.data.captions, 5, 1)
    return packed_loss(build(base, variant).model, calibration.data.features, batch).item()


def test_losses_with_layers_dropped_are_those_of_built_variants(random_base: Base, calibration: Calibration) -> None:
    full = tuple(range(6))
    assert calibration.loss() == pytest.approx(built_loss(random_base, calibration, (0, 1, 2, 3), full), rel=1e-5)
    with calibration.llm([0, 2]):
        assert calibration.loss() == pytest.approx(built_loss(random_base, calibration, (0, 2), full), rel=1e-5)
    with calibration.pairs([0, 2]):
        expected = built_loss(random_base, calibration, (0, 1, 2, 3), (0, 1, 4, 5))
        assert calibration.loss() == pytest.approx(expected, rel=1e-5)
    assert calibration.loss() == pytest.approx(built_loss(random_base, calibration, (0, 1, 2, 3), full), rel=1e-5)


def test_greedy_drops_the_layer_that_costs_least_each_time(random_base: Base, calibration: Calibration) -> None:
    order = greedy(calibration)
    assert sorted(order) == [0, 1, 2, 3]
    left = [0, 1, 2, 3]
    for dropped in order[:-1]:  # nested: each step is the best single removal from what the steps before left
        losses = {
            layer: built_loss(random_base, calibration, tuple(i for i in left if i != layer), tuple(range(6))) for layer in left
        }
        assert dropped == min(losses, key=losses.__getitem__)
        left.remove(dropped)


def test_all_pair_subsets_are_scored(random_base: Base, calibration: Calibration) -> None:
    losses = score_pairs(calibration)
    assert set(losses) == {s for n in (1, 2, 3) for s in itertools.combinations(range(3), n)}
    for pairs, loss in losses.items():
        kept = tuple(i for p in pairs for i in (2 * p, 2 * p + 1))
        assert loss == pytest.approx(built_loss(random_base, calibration, (0, 1, 2, 3), kept), rel=1e-5)


def test_influence_and_block_on_states_with_known_angles() -> None:
    def direction(degrees: float) -> torch.Tensor:
        angle = torch.tensor(degrees).deg2rad()
        return torch.stack([angle.cos(), angle.sin()]).repeat(7, 1)

    states = [direction(d) for d in (0, 40, 50, 52, 82)]  # layers turn by 40, 10, 2 and 30 degrees
    assert block_influence(states) == (2, 1, 3, 0)
    assert angular_block(states) == (2, 1, 3, 0)
    # A layer that turns back: blocks are judged by their ends, single layers by themselves.
    states = [direction(d) for d in (0, 30, 60, 62, 20)]  # 30, 30, 2, then back by 42
    assert block_influence(states)[-1] == 3
    assert angular_block(states)[:2] == (2, 1) and set(angular_block(states)[:3]) == {1, 2, 3}


def test_states_are_the_residual_stream_before_each_layer(calibration: Calibration) -> None:
    states = calibration.hidden_states()
    tokens = sum(len(c.ids) - 1 for captions in calibration.data.captions for c in captions)
    assert [tuple(s.shape) for s in states] == [(tokens, 32)] * 5
    with calibration.llm([0, 1, 2]):
        calibration.llm_layers, before = calibration.llm_layers[:3], calibration.llm_layers
        shorter = calibration.hidden_states()
        calibration.llm_layers = before
    for a, b in zip(states[:4], shorter, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_rankings_are_orders_survive_json_and_leave_the_base_alone(random_base: Base, calibration: Calibration) -> None:
    before = {k: v.clone() for k, v in random_base.model.state_dict().items()}
    seen: list[tuple[str, int, int]] = []
    rankings = score_layers(calibration, lambda *news: seen.append(news))
    assert set(rankings.llm) == set(MEASURED)
    assert all(sorted(order) == [0, 1, 2, 3] for order in rankings.llm.values())
    assert {n: len(p) for n, p in rankings.qformer_pairs.items()} == {1: 1, 2: 2, 3: 3}
    assert MeasuredRankings.from_json(rankings.to_json()) == rankings
    assert seen[-1][1] == seen[-1][2]
    after = random_base.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert len(random_base.model.language_model.model.decoder.layers) == 4
    assert random_base.model.config.qformer_config.num_hidden_layers == 6
