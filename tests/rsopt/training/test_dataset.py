"""Packing: the packed loss and its gradients are those of padded caption pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.model.base import Base
from rsopt.model.build import build
from rsopt.training.dataset import batches, pack
from rsopt.training.losses import packed_loss
from tests.support.token_captions import padded_loss, random_captions

LORA = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(4, 8, "qkvo"))


@pytest.mark.parametrize("seed", range(4))
def test_packed_loss_and_gradients_equal_padded(random_base: Base, seed: int) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    with torch.no_grad():
        for parameter in built.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    features = torch.randn(4, 5, 24)
    captions = random_captions(seed)
    found = []
    for loss in (packed_loss(built.model, features, pack(captions, 5, 1)), padded_loss(built.model, features, captions)):
        found.append((loss.item(), torch.autograd.grad(loss, list(built.trainable().values()))))
    (a, grads_a), (b, grads_b) = found
    assert a == pytest.approx(b, rel=1e-5)
    for g, h in zip(grads_a, grads_b, strict=True):
        assert (g - h).norm() <= 1e-3 * h.norm() + 1e-7


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_no_caption_sees_another(seed: int, images: int) -> None:
    captions = random_captions(seed, images)
    batch = pack(captions, 3, 1)
    for row, own in enumerate(captions):
        at = 3
        for caption in own:
            inside = slice(at, at + len(caption.ids))
            seen = batch.visible[row, 0, inside]
            assert seen[:, :3].all()
            assert torch.equal(seen[:, inside], torch.tril(torch.ones_like(seen[:, inside])))
            assert int(seen.sum()) == 3 * len(caption.ids) + len(caption.ids) * (len(caption.ids) + 1) // 2
            assert batch.positions[row, inside].tolist() == list(range(3, 3 + len(caption.ids)))
            at += len(caption.ids)
    assert batch.visible.any(-1).all()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 99))
def test_batches_show_each_image_once(lengths: list[int], size: int, seed: int) -> None:
    found = list(batches(lengths, size, np.random.default_rng(seed)))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    assert max(map(len, found)) <= size
    assert len(found) == -(-len(lengths) // size)


def test_an_image_without_caption_is_an_error() -> None:
    with pytest.raises(ValueError, match="without caption"):
        pack([[]], 3, 1)
