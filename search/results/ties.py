"""Which members of a front cannot be told apart: by a paired bootstrap of CIDEr over the images that all of them captioned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsopt.core.leg_files import read_captions
from rsopt.scores.bootstrap import indistinguishable


def mark_ties(front: dict[str, Any], study: Path) -> None:
    """Give each member of a `front.json` the trials that it cannot be told apart from, as `same_cider`.

    A member whose captions are gone gets none.
    """
    members = [t for t in front["trials"] if t["pareto"]]
    recorded = {t["id"]: read_captions(study, t["id"], t["rung"]) for t in members}
    scores = {n: {k: float(v) for k, v in r["cider"].items()} for n, r in recorded.items() if r}
    same = same_cider(scores)
    for trial in members:
        if trial["id"] in same:
            trial["same_cider"] = same[trial["id"]]


def same_cider(members: Mapping[int, Mapping[str, float]]) -> dict[int, list[int]]:
    """{trial: those it cannot be told apart from} by a paired bootstrap of CIDEr over the images that all captioned.

    members: {trial: {image id: CIDEr}}.
    """
    numbers = list(members)
    shared = set.intersection(*(set(scores) for scores in members.values())) if members else set()
    if len(numbers) < 2 or len(shared) < 2:
        return {number: [] for number in numbers}
    ids = sorted(shared)
    flags = indistinguishable(np.array([[members[n][i] for i in ids] for n in numbers]))
    return {
        n: [other for k, other in enumerate(numbers) if flags[row, k] and other != n] for row, n in enumerate(numbers)
    }
