"""Hypervolume on a scale that the tuned full depth fixes, so that a growing front never lowers it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rsopt.core.objectives import Objective
from search.optimizer.pareto import hypervolume
from search.study.history import History, reference_point

Points = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class HypervolumeScale:
    """The reference point `corner`, minimised, and the volume `box` that counts as 1.

    The box reaches from the reference point to full depth's own value in what is maximised, at no cost.
    """

    objectives: tuple[Objective, ...]
    corner: tuple[float, ...]
    box: float

    @classmethod
    def of(cls, history: History, objectives: Sequence[Objective]) -> HypervolumeScale | None:
        """Returns the scale of a study; None until its tuned full depth is measured."""
        corner = reference_point(history, objectives)
        full = next((c.final for c in history if c.role == "full_depth"), None)
        if corner is None or full is None:
            return None
        ideal = (o.minimised(full.metrics[o.name]) if o.direction == "max" else 0.0 for o in objectives)
        return cls(tuple(objectives), corner, math.prod(a - b for a, b in zip(corner, ideal, strict=True)))

    def share(self, points: Points) -> float:
        """Returns the volume that points, minimised, dominate, as a share of the box; 0 where the full depth has no CIDEr."""
        return hypervolume(points, self.corner) / self.box if self.box > 0 else 0.0

    def share_above(self, points: Points, cider: float) -> float:
        """Returns the part of `share` that lies above this CIDEr x100."""
        raised = (o.minimised(cider) if o.name == "cider" else c for o, c in zip(self.objectives, self.corner, strict=True))
        return replace(self, corner=tuple(raised)).share(points)
