"""The scene class of each image: where it comes from, in one order of precedence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rsopt.common.text import shown, text_fault
from rsopt.data.formats.karpathy import load_json
from rsopt.data.formats.listing import IMAGE_SUFFIXES, Listing, Row, scene_of
from rsopt.errors import UserError

CLASSES_FILE = "classes.json"  # {file name: class}, beside the listing
CLASS_LISTS = "txtclasses_rsicd"  # RSICD's folder of one `<class>.txt` for each class, with a file name a line
SOURCES = (CLASSES_FILE, "class lists", "NWPU's folders", "UCM's numbering", "file names")
# fmt: off
_UCM = (
    "agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest",
    "freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass", "parkinglot",
    "river", "runway", "sparseresidential", "storagetanks", "tenniscourt",
)
# fmt: on
_UCM_PER_CLASS = 100


@dataclass(frozen=True, slots=True)
class Classes:
    """Scene classes by listed file name, each with its source; `twice` names images that are in several class lists."""

    of: Mapping[str, tuple[str, str]]
    twice: tuple[str, ...] = ()

    def scene(self, filename: str) -> str | None:
        """Return the class of an image, None if no source has one."""
        return self.of[filename][0] if filename in self.of else None

    def source(self, filenames: list[str]) -> str | None:
        """Return the sources of these images' classes, such as "class lists and file names"; None without a class."""
        used = {self.of[f][1] for f in filenames if f in self.of}
        return " and ".join(s for s in SOURCES if s in used) or None


def find_classes(listing: Listing) -> Classes:
    """Return the classes of a listing's images. The first source in SOURCES that knows an image decides.

    Raises UserError for a classes file that cannot be read or that names unknown images.
    """
    lists, twice = _class_lists(listing)
    by_source = (_own_file(listing), lists, _folders(listing), _ucm_numbering(listing), _file_names(listing))
    of: dict[str, tuple[str, str]] = {}
    for source, classes in zip(SOURCES, by_source, strict=True):
        for filename, scene in classes.items():
            of.setdefault(filename, (scene, source))
    return Classes(of, twice)


def _own_file(listing: Listing) -> dict[str, str]:
    file = listing.root / CLASSES_FILE
    if not file.is_file():
        return {}
    given = load_json(file)
    if not isinstance(given, dict):
        raise UserError(f"{file}: must be an object {{file name: class}}")
    for name, scene in given.items():
        fault = text_fault(name) or text_fault(scene) or ("is empty" if not scene.strip() else None)
        if fault:
            raise UserError(f"{file}: the class of '{shown(name)}' {fault}; it must be text")
    classes = {row.filename: given[key] for row in listing.rows for key in (row.name, row.filename) if key in given}
    known = {key for row in listing.rows for key in (row.name, row.filename)}
    if unknown := [name for name in given if name not in known]:
        more = ", ..." if len(unknown) > 3 else ""
        raise UserError(f"{file}: {len(unknown)} names are not in the listing: {', '.join(map(shown, unknown[:3]))}{more}")
    return {filename: " ".join(scene.split()) for filename, scene in classes.items()}


def _class_lists(listing: Listing) -> tuple[dict[str, str], tuple[str, ...]]:
    """Classes by RSICD's lists, and images in several of them, which get no class here."""
    places = dict.fromkeys((listing.root, listing.images, listing.images.parent))
    folder = next((p / CLASS_LISTS for p in places if (p / CLASS_LISTS).is_dir()), None)
    if folder is None:
        return {}, ()
    scenes: dict[str, set[str]] = {}
    for file in sorted(folder.rglob("*.txt")):
        for line in _lines(file):
            scenes.setdefault(line.strip(), set()).add(file.stem)
    listed = {row.filename: scenes[row.name] for row in listing.rows if row.name in scenes}
    twice = tuple(f"{name} ({' and '.join(sorted(of))})" for name, of in listed.items() if len(of) > 1)
    return {name: next(iter(of)) for name, of in listed.items() if len(of) == 1}, twice


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise UserError(f"{file}: {reason}") from None


def _folders(listing: Listing) -> dict[str, str]:
    return {row.filename: row.scene for row in listing.rows if row.scene}


def _ucm_numbering(listing: Listing) -> dict[str, str]:
    """Classes by number: UCM numbers its 2,100 images by class, 100 each.

    Other sets are numbered too (Sydney has 613). So the set must bear UCM's name, or have all of UCM's numbers and no other.
    """
    numbers = {row.filename: _number(row) for row in listing.rows}
    known, last = {n for n in numbers.values() if n}, len(_UCM) * _UCM_PER_CLASS
    if not listing.rows or None in numbers.values() or max(known) > last:
        return {}
    if "ucm" not in listing.name.lower() and len(known) < last:
        return {}
    return {filename: _UCM[(number - 1) // _UCM_PER_CLASS] for filename, number in numbers.items() if number}


def _number(row: Row) -> int | None:
    """The number of a file name such as `17.tif`, None for other names."""
    stem, _, suffix = row.name.rpartition(".")
    is_number = stem.isascii() and stem.isdigit() and not stem.startswith("0") and len(stem) < 9
    return int(stem) if is_number and f".{suffix.lower()}" in IMAGE_SUFFIXES else None


def _file_names(listing: Listing) -> dict[str, str]:
    return {row.filename: scene for row in listing.rows if (scene := scene_of(row.filename))}
