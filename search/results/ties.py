"""Which trials of a front differ in CIDEr beyond the noise of the images: paired bootstrap over images that all captioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from rsopt.core.leg_files import read_captions
from rsopt.scores.bootstrap import indistinguishable, paired_bootstrap
from search.results.front import Front, FrontEntry


def mark_ties(front: Front, study: Path) -> Front:
    """Gives each member `same_cider` and `cider_groups`; none where its captions are gone."""
    scores = {t.id: cider_by_image(study, t) for t in front.members}
    same = same_cider({number: by_image for number, by_image in scores.items() if by_image})
    groups = letter_groups({t.id: same[t.id] for t in sorted(front.members, key=_by_cider) if t.id in same})

    def marked(trial: FrontEntry) -> FrontEntry:
        return replace(trial, same_cider=tuple(same[trial.id]), cider_groups=groups[trial.id])

    return replace(front, trials=tuple(marked(t) if t.id in same else t for t in front.trials))


def same_cider(members: Mapping[int, Mapping[str, float]]) -> dict[int, list[int]]:
    """Returns for each trial those whose CIDEr cannot be distinguished from its own. members: {trial: {image id: CIDEr}}."""
    numbers = list(members)
    shared = set.intersection(*(set(scores) for scores in members.values())) if members else set()
    if len(numbers) < 2 or len(shared) < 2:
        return {number: [] for number in numbers}
    ids = sorted(shared)
    flags = indistinguishable(np.array([[members[n][i] for i in ids] for n in numbers]))
    return {n: [other for k, other in enumerate(numbers) if flags[row, k] and other != n] for row, n in enumerate(numbers)}


def letter_groups(same: Mapping[int, Sequence[int]]) -> dict[int, tuple[str, ...]]:
    """Returns letters by trial such that two trials share one exactly if they cannot be distinguished (compact letter display).

    same: {trial: trials that it cannot be distinguished from}, the best first: it is in group a. Being indistinguishable is
    not transitive, so a trial may be in several groups.
    """
    groups: list[list[int]] = []
    for one in same:
        for other in same[one]:
            if any(one in group and other in group for group in groups):
                continue
            group = [one, other]
            for n in same:
                if n not in group and all(n in same[member] for member in group):
                    group.append(n)
            groups.append(group)
        if not any(one in group for group in groups):
            groups.append([one])
    return {number: tuple(_letters(n) for n, group in enumerate(groups) if number in group) for number in same}


def cider_interval(study: Path, one: FrontEntry, other: FrontEntry) -> tuple[float, float, float] | None:
    """Returns CIDEr x100 of one trial less the other's, with its 95 % interval; None where the captions of either are gone."""
    a, b = (cider_by_image(study, trial) for trial in (one, other))
    ids = sorted(a.keys() & b.keys())
    return paired_bootstrap([a[i] for i in ids], [b[i] for i in ids]) if len(ids) > 1 else None


def cider_by_image(study: Path, trial: FrontEntry) -> dict[str, float]:
    """Returns CIDEr by image of a trial's last rung; empty where its captions are gone."""
    recorded = read_captions(study, trial.id, trial.rung)
    return {image: float(cider) for image, cider in recorded["cider"].items()} if recorded else {}


def _by_cider(trial: FrontEntry) -> float:
    return -trial.metrics.get("cider", 0.0)


def _letters(number: int) -> str:
    """a to z, then aa, ab and so on."""
    return (_letters(number // 26 - 1) if number > 25 else "") + ascii_lowercase[number % 26]
