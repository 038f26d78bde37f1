"""The internal form of all data sets: CaptionData, Sample, Caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Caption:
    """A distinct caption of an image and its number of repetitions (data sets pad by repetition)."""

    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its distinct captions. Exactly one of `path` and `data` (encoded image bytes) is set.

    `scene` is the scene class, None if no source of classes knows one (`rsopt/data/classes.py`).
    """

    image_id: str
    split: str
    captions: tuple[Caption, ...]
    scene: str | None = None
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def references(self) -> list[str]:
        """All captions, repeated ones as often as they occur, as the metrics take them."""
        return [c.text for c in self.captions for _ in range(c.count)]


@dataclass(frozen=True, slots=True)
class CaptionData:
    """A data set.

    `changes` counts changed captions by cleaning rule, `skipped` what was left out by kind of problem. `class_source` says where
    scene classes come from, such as "file names"; None if no image has one.
    """

    name: str
    format: str
    samples: tuple[Sample, ...]
    changes: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    class_source: str | None = None

    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of `train`, `val` or `test` in file order."""
        return [s for s in self.samples if s.split == name]
