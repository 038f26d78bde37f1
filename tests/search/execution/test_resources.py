"""How many legs run at once, and what each takes."""

from __future__ import annotations

import pytest

from rsopt.errors import UserError
from search.execution.resources import Resources, plan_resources


@pytest.mark.parametrize(
    ("there", "share", "workers", "cluster", "found"),
    [
        ((4, 0, 64e9), 1.0, None, False, Resources(4, 1, 0)),  # one a core
        ((8, 0, 4e9), 1.0, None, False, Resources(2, 1, 0)),  # as memory allows
        ((1, 0, 1e9), 1.0, None, False, Resources(1, 1, 0)),
        ((4, 0, 64e9), 1.0, 2, False, Resources(2, 1, 0)),
        ((4, 0, 64e9), 1.0, 9, False, Resources(4, 1, 0)),  # a machine does not grow
        ((16, 2, 64e9), 1.0, None, False, Resources(2, 8, 1.0)),  # one a GPU, with its part of the cores
        ((16, 2, 64e9), 0.5, None, False, Resources(4, 4, 0.5)),
        ((16, 2, 64e9), 1.0, 1, False, Resources(1, 16, 1.0)),
        ((6, 0, 64e9), 1.0, 6, True, Resources(6, 1, 0)),
        ((6, 0, 64e9), 1.0, 9, True, Resources(9, 1, 0)),  # a cluster does
        ((8, 1, 64e9), 1.0, 8, True, Resources(8, 1, 1.0)),
        ((0, 0, 0), 1.0, 8, True, Resources(8, 1, 1.0)),  # a head alone: asked for GPUs
        ((0, 0, 0), 0.5, 8, True, Resources(8, 1, 0.5)),
    ],
)
def test_what_there_is_and_what_is_asked_for(
    there: tuple[float, float, float], share: float, workers: int | None, cluster: bool, found: Resources
) -> None:
    assert plan_resources(*there, share, workers, cluster) == found


def test_a_head_alone_must_be_told_how_many() -> None:
    with pytest.raises(UserError, match="--workers says how many"):
        plan_resources(0, 0, 0, 1.0, None, cluster=True)
