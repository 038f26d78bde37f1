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
from rsopt.model.prefix import query_prefix
from rsopt.training.dataset import TokenCaption, batches, pack
from rsopt.training.losses import packed_loss

LORA = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(4, 8, "qkvo"))


def padded_loss(model: torch.nn.Module, features: torch.Tensor, captions: list[list[TokenCaption]]) -> torch.Tensor:
    """The plain way: one row a caption, repeats as further rows, transformers' own forward and mask."""
    rows = [(i, c.ids) for i, cs in enumerate(captions) for c in cs for _ in range(int(c.weight))]
    width = max(len(ids) for _, ids in rows)
    ids = torch.ones(len(rows), width, dtype=torch.long)
    for row, (_, tokens) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    prefix = query_prefix(model, features)[torch.tensor([i for i, _ in rows])]  # type: ignore[arg-type]
    embeds = torch.cat([prefix, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([torch.ones(prefix.shape[:2], dtype=torch.long), (ids != 1).long()], dim=1)
    logits = model.language_model(inputs_embeds=embeds, attention_mask=mask).logits[:, prefix.shape[1] : -1]
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == 1, -100)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def random_captions(seed: int, images: int = 4) -> list[list[TokenCaption]]:
    rng = np.random.default_rng(seed)
    return [
        [
            TokenCaption((2, *rng.integers(5, 58, rng.integers(1, 9)).tolist(), 4), float(rng.integers(1, 5)))
            for _ in range(rng.integers(1, 6))
        ]
        for _ in range(images)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_packed_loss_and_gradients_equal_padded(random_base: Base, seed: int) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    with torch.no_grad():
        for parameter in built.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    features = torch.randn(4, 5, 24)
    captions = random_captions(seed)
    found = []
    for loss in (
        packed_loss(built.model, features, pack(captions, 5, 1)),
        padded_loss(built.model, features, captions),
    ):
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
