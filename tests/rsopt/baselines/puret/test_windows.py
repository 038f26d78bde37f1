"""Windows, their mask and PureT's attention against slow code that knows nothing of rolling."""

from __future__ import annotations

import math

import pytest
import torch

from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.encoder import RefiningLayer
from rsopt.baselines.puret.windows import join, partition, relative_index, shift, shifted_visible


def region(at: int, side: int, window: int, by: int) -> int:
    """Which stretch of rows (or columns) place `at` is in, when windows begin at `by` and end at the border."""
    return (at - by) // window


@pytest.mark.parametrize(("side", "window", "by"), [(8, 4, 2), (12, 6, 3), (6, 2, 1), (8, 4, 0)])
def test_the_mask_lets_a_place_see_its_own_region_of_the_unrolled_grid(side: int, window: int, by: int) -> None:
    places = torch.arange(side * side, dtype=torch.float32).view(1, -1, 1)
    held = partition(shift(places, side, -by), side, window)[0, :, :, 0].long()  # which place is where
    visible = shifted_visible(side, window, by)
    for number, own in enumerate(held.tolist()):
        for i, one in enumerate(own):
            for j, other in enumerate(own):
                same = all(
                    region(a, side, window, by) == region(b, side, window, by)
                    for a, b in zip(divmod(one, side), divmod(other, side), strict=True)
                )
                assert bool(visible[number, i, j]) == same


def test_join_undoes_partition() -> None:
    grid = torch.randn(2, 64, 5)
    assert torch.equal(join(partition(grid, 8, 4), 8, 4), grid)
    assert torch.equal(shift(shift(grid, 8, -3), 8, 3), grid)


def slow_layer(layer: RefiningLayer, x: torch.Tensor) -> torch.Tensor:
    """What a refining layer must give for one image (places + 1, width): place by place, head by head."""
    side, window, by, heads = layer.side, layer.window, layer.by, layer.attention.heads
    width = x.shape[1] // heads
    queries, keys, values = (
        part(x).view(len(x), heads, width) for part in (layer.attention.query, layer.attention.key, layer.attention.value)
    )
    last, attended = side * side, torch.zeros_like(queries)
    for i in range(len(x)):
        for head in range(heads):
            seen, scores = [], []
            for j in range(len(x)):
                score = (queries[i, head] @ keys[j, head]).item() / math.sqrt(width)
                if last not in (i, j):
                    (r1, c1), (r2, c2) = divmod(i, side), divmod(j, side)
                    if any(region(a, side, window, by) != region(b, side, window, by) for a, b in ((r1, r2), (c1, c2))):
                        continue
                    row = (r1 - r2 + window - 1) * (2 * window - 1) + c1 - c2 + window - 1
                    score += layer.bias[row, head].item()
                seen.append(j)
                scores.append(score)
            shares = torch.tensor(scores, dtype=torch.float64).softmax(0)
            attended[i, head] = sum(share * values[j, head].double() for share, j in zip(shares, seen, strict=True)).float()
    x = layer.norm1(x + layer.attention.out(attended.flatten(1)))
    return layer.norm2(x + layer.feed(x))


@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_a_refining_layer_equals_slow_code(shifted: bool) -> None:
    torch.manual_seed(0)
    config = puret_config(True, 10)
    config.grid, config.window, config.hidden_size, config.num_attention_heads = 6, 2, 8, 2
    layer = RefiningLayer(config, shifted).eval()
    layer.bias.normal_()
    x = torch.randn(2, 37, 8)
    assert layer.by == (1 if shifted else 0)
    for image, found in zip(x, layer(x), strict=True):
        assert torch.allclose(found, slow_layer(layer, image), atol=1e-5)


def test_relative_index_is_one_row_for_each_offset() -> None:
    index = relative_index(3)
    assert index[0, 8] == 0 and index[8, 0] == 24 and (index.diagonal() == 12).all()
    assert len(index.unique()) == 25
