"""Finds members of a front whose CIDEr cannot be distinguished: paired bootstrap over the images that all of them captioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsopt.core.leg_files import read_captions
from rsopt.scores.bootstrap import indistinguishable
from search.results.front import Front


def mark_ties(front: Front, study: Path) -> Front:
    """Gives each member the trials that it cannot be distinguished from, as `same_cider`; none where its captions are gone."""
    recorded = {t.id: read_captions(study, t.id, t.rung) for t in front.members}
    scores = {n: {image: float(cider) for image, cider in r["cider"].items()} for n, r in recorded.items() if r}
    same = same_cider(scores)
    return replace(front, trials=tuple(replace(t, same_cider=tuple(same[t.id])) if t.id in same else t for t in front.trials))


def same_cider(members: Mapping[int, Mapping[str, float]]) -> dict[int, list[int]]:
    """Returns for each trial those whose CIDEr cannot be distinguished from its own. members: {trial: {image id: CIDEr}}."""
    numbers = list(members)
    shared = set.intersection(*(set(scores) for scores in members.values())) if members else set()
    if len(numbers) < 2 or len(shared) < 2:
        return {number: [] for number in numbers}
    ids = sorted(shared)
    flags = indistinguishable(np.array([[members[n][i] for i in ids] for n in numbers]))
    return {n: [other for k, other in enumerate(numbers) if flags[row, k] and other != n] for row, n in enumerate(numbers)}
