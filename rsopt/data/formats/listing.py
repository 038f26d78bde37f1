"""What all readers return: the images as a data set lists them, before any check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, cast

from rsopt.common.text import text_fault

_SPLITS = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
SPLIT_NAMES = tuple(_SPLITS)
T = TypeVar("T")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True)
class Row:
    """One listed image. `filename` is relative to the image folder; `data` holds the image's bytes if the listing does.

    `scene` is the class where the format itself has one. `faults` says where captions are not text: `sentences[2].raw is null`.
    """

    filename: str
    split: str
    texts: tuple[str, ...]
    scene: str | None = None
    data: bytes | None = field(default=None, repr=False)
    faults: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name without folders."""
        return PurePosixPath(self.filename.replace("\\", "/")).name


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows in file order. `images` is the folder of the image files, `root` the folder of the listing itself.

    `bad_entries` says where entries have no usable file name or split: `images[17] is null`.
    """

    name: str
    format: str
    rows: tuple[Row, ...]
    images: Path
    root: Path
    bad_entries: tuple[str, ...] = ()


class Fault(NamedTuple):
    """Stands for an entry or a caption that cannot be read; `reason` says where and why."""

    reason: str


def text_or_fault(place: str, value: Any) -> str | Fault:
    """Return the value if it is text, else the fault at this place."""
    fault = text_fault(value)
    return Fault(f"{place} {fault}") if fault else cast(str, value)


def separate(found: Iterable[T | Fault]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Separate what could be read from the reasons of faults."""
    found = tuple(found)
    return tuple(f for f in found if not isinstance(f, Fault)), tuple(f.reason for f in found if isinstance(f, Fault))


def split_of(name: str) -> str | None:
    """Return `train`, `val` or `test` for a split name that data sets use, else None."""
    return _SPLITS.get(name.strip().lower())


def scene_of(filename: str) -> str | None:
    """Return the scene class in a file name: as in RSICD the stem before `_<n>` (`airport_1.jpg`); `00001.jpg` has none."""
    head, underscore, number = PurePosixPath(filename).stem.rpartition("_")
    return head if underscore and number.isdigit() and not head.isdigit() else None


def image_folder(root: Path, filenames: list[str]) -> Path:
    """Return the folder that holds most of the named files: `root`, one in it, or one of images beside it.

    If none holds any, the likeliest by its name.
    """
    probes = [name for name in filenames[:: max(1, len(filenames) // 64)] if is_inside(name)]

    def held(folder: Path) -> int:
        return sum(is_file(folder / name) for name in probes)

    inside = [*sorted((d for d in root.iterdir() if d.is_dir()), key=_likeliest_first), root]
    best = max(inside, key=held)
    if held(best):
        return best
    parent = root.resolve().parent  # such as `original/dataset_rsicd.json` beside `RSICD_images`
    beside = [*sorted((d for d in _folders(parent) if "im" in d.name.lower()), key=_likeliest_first), parent]
    other = max(beside, key=held)
    return other if held(other) else best


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that no disk takes."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_inside(filename: str) -> bool:
    """Whether a listed file name stays inside the folder: relative, no `..`, no drive, no NUL."""
    path = PurePosixPath(filename.replace("\\", "/"))
    return bool(path.name) and not path.is_absolute() and not {"..", "~"} & set(path.parts) and not _is_odd(filename)


def _is_odd(filename: str) -> bool:
    return "\0" in filename or filename[1:2] == ":"


def _folders(parent: Path) -> list[Path]:
    try:
        return [d for d in parent.iterdir() if d.is_dir()]
    except OSError:  # no permission to look at what lies beside the data set
        return []


def _likeliest_first(folder: Path) -> tuple[bool, bool, str]:
    name = folder.name.lower()
    return name != "rsicd_images", "im" not in name, name
