"""Scores of baselines, which stand beside the scores of captioners: their names, JSON and sentences about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

BLIND = ("blind_class", "blind")
# What version 0.2 and earlier called floor and ceiling; its people were scored with copies of a caption set aside.
_EARLIER = {"class_prior": "blind_class", "prior": "blind", "human_agreement": "people_without_copies"}


@dataclass(frozen=True, slots=True)
class BaselineScore:
    """CIDEr x100 of a baseline on all images of a split, and the share of them that it covers; None if not recorded."""

    cider: float
    coverage: float | None

    def __str__(self) -> str:
        covered = "" if self.coverage in (None, 1.0) else f" ({self.coverage:.0%} of the images)"
        return f"{self.cider:.1f}{covered}"


Baselines = Mapping[str, BaselineScore]


def baselines_to_json(baselines: Baselines) -> dict[str, Any]:
    """A plain dict by name; `baselines_from_json` reads it."""
    return {name: asdict(score) for name, score in baselines.items()}


def baselines_from_json(data: Mapping[str, Any]) -> dict[str, BaselineScore]:
    """Read `baselines` of a stored object, or an earlier version's `floor` and `ceiling`, under names that say what they were."""
    if "baselines" in data:
        return {name: BaselineScore(**score) for name, score in data["baselines"].items()}
    earlier = {**data.get("floor", {}), **data.get("ceiling", {})}
    return {
        name: BaselineScore(earlier[old], 1.0 if name == "blind" else None) for old, name in _EARLIER.items() if old in earlier
    }


def without_baselines(data: Mapping[str, Any]) -> dict[str, Any]:
    """The stored object without what `baselines_from_json` reads."""
    return {name: value for name, value in data.items() if name not in ("baselines", "floor", "ceiling")}


def strongest_blind(baselines: Baselines) -> str | None:
    """Name of the blind baseline with the highest CIDEr; None where there is none."""
    return max((name for name in BLIND if name in baselines), key=lambda name: baselines[name].cider, default=None)


def in_one_line(baselines: Baselines) -> str:
    """Names with CIDEr, and coverage where it is not whole; "none" without baselines."""
    return ", ".join(f"{name} {score}" for name, score in baselines.items()) or "none"


def notes_on(baselines: Baselines) -> list[str]:
    """Sentences about baselines that are missing."""
    notes = []
    if "blind" in baselines and "blind_class" not in baselines:
        notes.append(
            "the blind baseline is a weak one, since no scene class is known: a captioner that knew the class alone would score "
            "more. Classes come from file names such as airport_1.jpg, from RSICD's class lists, or from a file classes.json "
            "beside the listing: {file name: class}"
        )
    if "people_without_copies" not in baselines and "blind" in baselines and "nearest_image" not in baselines:
        notes.append("nearest_image is left out: images of the data set are missing or cannot be read")
    return notes
