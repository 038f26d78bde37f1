"""What all readers return: the images as a data set lists them, before any check."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

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
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True)
class Row:
    """One listed image. `filename` is relative to the image folder; `data` holds the image's bytes if the listing does."""

    filename: str
    split: str
    texts: tuple[str, ...]
    scene: str | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The file name without folders."""
        return PurePosixPath(self.filename.replace("\\", "/")).name


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows in file order; `images` is the folder of the image files, None if the rows hold bytes."""

    name: str
    format: str
    rows: tuple[Row, ...]
    images: Path | None = None


def split_of(name: str) -> str | None:
    """Return `train`, `val` or `test` for a split name that data sets use, else None."""
    return _SPLITS.get(name.strip().lower())


def scene_of(filename: str) -> str | None:
    """Return the scene class in a file name: as in RSICD the stem before `_<n>` (`airport_1.jpg`); `00001.jpg` has none."""
    head, underscore, number = PurePosixPath(filename).stem.rpartition("_")
    return head if underscore and number.isdigit() and not head.isdigit() else None


def image_folder(root: Path, filenames: list[str]) -> Path:
    """Return the folder that holds most of the named files: `root` or one in it; by its name if none holds any."""
    probes = filenames[:: max(1, len(filenames) // 64)]
    folders = [*sorted((d for d in root.iterdir() if d.is_dir()), key=_likeliest_first), root]
    return max(folders, key=lambda folder: sum(folder.joinpath(name).is_file() for name in probes if is_inside(name)))


def is_inside(filename: str) -> bool:
    """Whether a listed file name stays inside the folder: relative, no `..`, no drive, no NUL."""
    path = PurePosixPath(filename.replace("\\", "/"))
    return bool(path.name) and not path.is_absolute() and not {"..", "~"} & set(path.parts) and not _is_odd(filename)


def _is_odd(filename: str) -> bool:
    return "\0" in filename or filename[1:2] == ":"


def _likeliest_first(folder: Path) -> tuple[bool, bool, str]:
    name = folder.name.lower()
    return name != "rsicd_images", "im" not in name, name
