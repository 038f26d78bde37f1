"""PureT's refining encoder: attention in windows, shifted in every second layer, and a global token that sees the whole grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsopt.baselines.layers import FeedForward, Projections
from rsopt.baselines.puret.config import PureTConfig
from rsopt.baselines.puret.windows import join, partition, relative_index, shift, shifted_visible


class RefiningLayer(nn.Module):
    """Attention and feed-forward, each followed by residual and norm (post-norm).

    Grid places see their window and the global token, with a bias by relative position; the global token sees everything.
    Both use the same projections.
    """

    index: Tensor  # (places of a window, places of a window): rows of `bias`
    visible: Tensor  # (windows, places, places + 1)

    def __init__(self, config: PureTConfig, shifted: bool) -> None:
        super().__init__()
        width, self.side, self.window = config.hidden_size, config.grid, config.window
        self.by = config.window // 2 if shifted and config.window < config.grid else 0
        self.attention = Projections(width, config.num_attention_heads)
        self.bias = nn.Parameter(torch.zeros((2 * self.window - 1) ** 2, config.num_attention_heads))
        self.register_buffer("index", relative_index(self.window))
        visible = shifted_visible(self.side, self.window, self.by)
        self.register_buffer("visible", functional.pad(visible, (0, 1), value=True))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = FeedForward(width, config.inner_size, config.dropout)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x and the result are (B, side * side + 1, width), the global token last."""
        x = self.norm1(x + self.drop(self._attend(x)))
        return self.norm2(x + self.drop(self.feed(x)))

    def _attend(self, x: Tensor) -> Tensor:
        queries, (keys, values) = self.attention.queries(x), self.attention.keys_values(x)
        whole = functional.scaled_dot_product_attention(queries[:, :, -1:], keys, values)
        grid = functional.scaled_dot_product_attention(
            self._windows(queries[:, :, :-1]), self._with_global(keys), self._with_global(values), attn_mask=self._mask(len(x))
        )
        batch, heads = queries.shape[:2]
        grid = grid.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)  # (B * heads, windows, places, width of a head)
        back = shift(join(grid, self.side, self.window), self.side, self.by).unflatten(0, (batch, heads))
        return self.attention.join(torch.cat([back, whole], dim=2))

    def _windows(self, x: Tensor) -> Tensor:
        """(B, heads, side * side, D) to (B * windows, heads, window * window, D), shifted where this layer shifts."""
        batch, heads = x.shape[:2]
        parts = partition(shift(x.flatten(0, 1), self.side, -self.by), self.side, self.window)
        return parts.unflatten(0, (batch, heads)).transpose(1, 2).flatten(0, 1)

    def _with_global(self, x: Tensor) -> Tensor:
        """(B, heads, side * side + 1, D) to windows, each followed by the global token."""
        windows = self._windows(x[:, :, :-1])
        last = x[:, :, -1:].repeat_interleave(len(windows) // len(x), dim=0)
        return torch.cat([windows, last], dim=2)

    def _mask(self, batch: int) -> Tensor:
        """The mask and bias that are added to scores: (B * windows, heads, places, places + 1); the global token has no bias."""
        bias = functional.pad(self.bias[self.index].permute(2, 0, 1), (0, 1))  # (heads, places, places + 1)
        hidden = torch.zeros_like(self.visible, dtype=bias.dtype).masked_fill(~self.visible, float("-inf"))
        return (bias + hidden[:, None]).repeat(batch, 1, 1, 1)


class Refiner(nn.Module):
    """Grid features to a refined grid with a global token, which starts as the grid's mean."""

    def __init__(self, config: PureTConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(config.vision_config.hidden_size, config.hidden_size)
        self.celu, self.drop = nn.CELU(config.celu_alpha), nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(RefiningLayer(config, shifted=i % 2 == 1) for i in range(config.encoder_layers))

    def forward(self, features: Tensor) -> Tensor:
        """features (B, grid * grid, vision width) to (B, grid * grid + 1, width), the global token last."""
        x = self.drop(self.celu(self.embed(features)))
        x = torch.cat([x, x.mean(1, keepdim=True)], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x
