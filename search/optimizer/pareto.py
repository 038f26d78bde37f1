"""Pareto front: non-dominated points, their hypervolume and the picks among them. Pure; numpy and moocore only.

Values are (n, m) arrays: n points, m objectives, all to be minimised (`rsopt.core.objectives.minimised` turns the signs).
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsopt.core.objectives import Objective

# Pick -> the objective that it is best in. The knee needs none of them.
BEST_IN = {"best_cider": "cider", "fastest": "latency_ms", "smallest": "params"}


def non_dominated(values: ArrayLike) -> NDArray[np.bool_]:
    """Flags the points that no other point dominates (is at least as good in every objective and better in one).

    values (n, m) -> flags (n,). Equal points do not dominate each other: all or none of them are flagged.
    Raises ValueError on values that are not finite.
    """
    points = _points(values)
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] == points[:, 0].min(), dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=bool)


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """Returns the volume between points (n, m) and the reference point (m,); points not below it in every objective add nothing.

    The unit is the product of the objectives' units. Raises ValueError on values that are not finite.
    """
    points, corner = _points(values), _points(np.asarray(reference)[None])[0]
    if points.shape[1] != len(corner) and len(points):
        raise ValueError(f"points have {points.shape[1]} objectives, the reference point {len(corner)}")
    inside = points[(points < corner).all(axis=1)] if len(points) else points
    return float(moocore.hypervolume(inside, ref=corner)) if len(inside) else 0.0


def knee(values: ArrayLike, weights: ArrayLike | None = None) -> int:
    """Returns the index of the front's best trade-off; dominated points are ignored. Raises ValueError without points.

    Each objective is scaled to 0 (best) .. 1 (worst) over the front; the knee is the point nearest to the ideal point at
    0, by Euclidean distance with `weights` (m,), by default equal (compromise programming, Zeleny 1973). Objectives in which
    the whole front is equal do not count. Ties go to the point that is better in the first objective, then the second, and
    so on; equal points to the first of them.
    """
    points = _points(values)
    if len(points) == 0:
        raise ValueError("no points, so no knee")
    front = np.flatnonzero(non_dominated(points))
    members = points[front]
    low, span = members.min(axis=0), np.ptp(members, axis=0)
    scaled = np.divide(members - low, span, out=np.zeros_like(members), where=span > 0)
    weight = np.ones(members.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    # Rounded, so that ties do not depend on the last bit of a sum.
    return int(front[_first((scaled**2 @ weight).round(12), members)])


def knee_weights(objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Returns weights (m,): half for quality (what is maximised), half shared by the costs, which are correlated.

    With equal weights latency and parameters count twice against CIDEr and the knee is nearly always the smallest model.
    """
    directions = [o.direction for o in objectives]
    return np.array([1 / directions.count(d) for d in directions])


def picks(ids: Sequence[int], values: ArrayLike, objectives: Sequence[Objective]) -> dict[str, int]:
    """Returns pick -> id: the knee, and the front's best in CIDEr, latency and parameters where these are objectives.

    ids (n,), values (n, m) minimised, m objectives in the order of the columns. Empty without points.
    """
    points = _points(values)
    if len(points) == 0:
        return {}
    front = np.flatnonzero(non_dominated(points))
    columns = {objective.name: i for i, objective in enumerate(objectives)}
    chosen = {"knee": ids[knee(points, knee_weights(objectives))]}
    for pick, name in BEST_IN.items():
        if name in columns:
            chosen[pick] = ids[int(front[_first(points[front][:, columns[name]], points[front])])]
    return chosen


def _first(score: NDArray[np.float64], points: NDArray[np.float64]) -> int:
    """Returns the index of the smallest score (n,); ties go by the values (n, m) from the first column on, not by order."""
    return int(np.lexsort((*points.T[::-1], score))[0])


def _points(values: ArrayLike) -> NDArray[np.float64]:
    """Returns the values as an (n, m) array of finite floats; an empty list is (0, 0)."""
    points = np.asarray(values, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 0)
    if points.ndim != 2:
        raise ValueError(f"points must be an (n, m) array, not of shape {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("points must be finite: a trial without all its objectives is not on any front")
    return points
