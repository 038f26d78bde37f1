"""Windows of a square grid (Swin, 2103.14030): partition, mask of shifted windows, index of relative positions."""

from __future__ import annotations

import torch
from torch import Tensor


def partition(grid: Tensor, side: int, window: int) -> Tensor:
    """(B, side * side, C) row by row to (B, windows, window * window, C)."""
    across = side // window
    parts = grid.reshape(len(grid), across, window, across, window, -1)
    return parts.transpose(2, 3).reshape(len(grid), across * across, window * window, -1)


def join(windows: Tensor, side: int, window: int) -> Tensor:
    """Inverse of `partition`."""
    across = side // window
    parts = windows.reshape(len(windows), across, across, window, window, -1)
    return parts.transpose(2, 3).reshape(len(windows), side * side, -1)


def shift(grid: Tensor, side: int, by: int) -> Tensor:
    """The grid (B, side * side, C) rolled by `by` rows and columns."""
    square = grid.reshape(len(grid), side, side, -1)
    return torch.roll(square, (by, by), (1, 2)).reshape(grid.shape)


def shifted_visible(side: int, window: int, by: int) -> Tensor:
    """(windows, window * window, window * window), True where two places of a shifted window were neighbours before the shift.

    After a shift by `-by` the last `by` rows and columns come from the other end of the grid. In a window with places from both
    ends, each place sees only those from its own end.
    """
    wrapped = torch.arange(side) >= side - by
    kind = (2 * wrapped[:, None] + wrapped[None]).reshape(1, side * side, 1)
    kinds = partition(kind, side, window)[0, :, :, 0]
    return kinds[:, :, None] == kinds[:, None, :]


def relative_index(window: int) -> Tensor:
    """(window * window, window * window): the row of each pair of places in a table of (2 * window - 1)^2 offsets."""
    at = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = at[:, None] - at[None] + window - 1
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]
