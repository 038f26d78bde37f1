"""Expected hypervolume improvement (EHVI) if one objective is uncertain and the others are known exactly. Pure.

All objectives are minimised. A point of known costs c and uncertain value Y adds, at every level t between Y and the
reference point, the volume of costs between c and the reference point that no front member with a value of at most t
dominates. That volume, A, changes only at the members' own values b_1 <= b_2 <= ..., so the expectation is a sum over them:
of A_k (psi(b_{k+1}) - psi(b_k)) with psi(b) = E[(b - Y)+]. No sampling, no quadrature, a thousand candidates at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


def expected_improvement(
    front: ArrayLike, reference: ArrayLike, uncertain: int, known: ArrayLike, mean: ArrayLike, sd: ArrayLike
) -> Array:
    """Returns the expected gain of hypervolume (n,) of n candidates, each on its own, over a front.

    The unit is the product of the objectives' units. Raises ValueError for other shapes.

    Args:
        front: (f, m) points of m = 2 or 3 objectives, minimised; they may be dominated or outside the reference.
        reference: (m,) reference point.
        uncertain: column of the uncertain objective, which is normally distributed.
        known: (n, m - 1) values of the other columns, in their order.
        mean: (n,) of the uncertain objective.
        sd: (n,) its standard deviation, at least 0.
    """
    corner = np.asarray(reference, dtype=np.float64)
    costs, mu, sigma = (np.asarray(a, dtype=np.float64) for a in (known, mean, sd))
    if len(corner) not in (2, 3) or costs.ndim != 2 or costs.shape[1] != len(corner) - 1:
        raise ValueError(f"2 or 3 objectives, all but one known: got {len(corner)} and known of shape {costs.shape}")
    members = np.asarray(front, dtype=np.float64).reshape(-1, len(corner))
    members = members[(members < corner).all(axis=1)]
    members = members[np.argsort(members[:, uncertain], kind="stable")]
    others = np.delete(corner, uncertain)
    points = np.delete(members, uncertain, axis=1)
    levels = np.append(members[:, uncertain], corner[uncertain])
    stairs = np.empty((0, len(others)))
    gain = np.zeros(len(costs))
    area = _undominated(stairs, others, costs)
    below = np.zeros(len(costs))
    for k, level in enumerate(levels):
        above = _shortfall(level, mu, sigma)
        gain += area * (above - below)
        below = above
        if k < len(points) and not (stairs <= points[k]).all(axis=1).any():
            stairs = np.vstack([stairs[~(stairs >= points[k]).all(axis=1)], points[k]])
            area = _undominated(stairs, others, costs)
    return np.maximum(gain, 0.0)


def _shortfall(level: float, mean: Array, sd: Array) -> Array:
    """Returns E[(level - Y)+] of Y ~ N(mean, sd**2); exact where sd is 0."""
    gap = level - mean
    z = np.divide(gap, sd, out=np.zeros_like(gap), where=sd > 0)
    smooth = gap * ndtr(z) + sd * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.where(sd > 0, smooth, np.maximum(gap, 0.0))


def _undominated(stairs: Array, corner: Array, costs: Array) -> Array:
    """Returns the length or area (n,) between costs (n, k) and the corner (k,) that no stair (s, k) dominates; k is 1 or 2."""
    if len(corner) == 1:
        limit = min(float(corner[0]), float(stairs.min())) if len(stairs) else float(corner[0])
        return np.maximum(limit - costs[:, 0], 0.0)
    spans = np.maximum(corner - costs, 0.0)
    whole = spans[:, 0] * spans[:, 1]
    if not len(stairs):
        return whole
    order = stairs[np.argsort(stairs[:, 0])]  # first cost up, second down: none of them dominates another
    left, right = order[:, 0], np.append(order[1:, 0], corner[0])
    widths = np.maximum(right, costs[:, :1]) - np.maximum(left, costs[:, :1])
    # Costs beyond the corner span nothing; without the clip their widths would still count.
    widths = np.where(costs[:, :1] < corner[0], widths, 0.0)
    heights = np.maximum(corner[1] - np.maximum(order[:, 1], costs[:, 1:]), 0.0)
    dominated: Array = (widths * heights).sum(axis=1)
    return np.maximum(whole - dominated, 0.0)
