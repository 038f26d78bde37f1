"""Layers of the baselines: projections of multi-head attention, and the feed-forward block."""

from __future__ import annotations

from torch import Tensor, nn


class Projections(nn.Module):
    """The four linear layers of multi-head attention; the caller computes the attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def queries(self, x: Tensor) -> Tensor:
        """(B, N, width) to (B, heads, N, width / heads)."""
        return self._split(self.query(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (B, heads, N, width / heads)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def join(self, attended: Tensor) -> Tensor:
        """(B, heads, N, width / heads) back to (B, N, width), through the output layer."""
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Linear, ReLU, linear, with dropout after both linear layers."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, width), nn.Dropout(dropout))
