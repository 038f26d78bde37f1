"""Kinds of problems of a data set, and their collection while it is checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rsopt.common.text import shown

# Kind -> text for people. Those in REFUSED make scores wrong; the others are only reported by `describe`.
KINDS = {
    "bad_entry": "entries without a usable file name or split",
    "bad_caption": "captions that are not text",
    "unsafe_path": "file names that leave the image folder",
    "missing_image": "images that are listed but missing",
    "broken_image": "images that cannot be decoded",
    "no_caption": "images without a caption",
    "two_splits": "images in two splits",
    "unknown_split": "images of an unknown split",
    "empty_split": "splits without an image",
    "empty_caption": "empty captions (left out)",
    "listed_twice": "images listed twice in a split (merged)",
    "two_classes": "images in several class lists (which then decide nothing)",
    "same_picture": "images in two splits under two names",
    "unused_file": "image files that are not listed",
}
REFUSED = (
    "bad_entry",
    "bad_caption",
    "unsafe_path",
    "missing_image",
    "broken_image",
    "no_caption",
    "two_splits",
    "unknown_split",
)
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: its count and the first names."""

    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} {KINDS[self.kind]}: {', '.join(self.examples)}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return a dict with kind, count and examples."""
        return {"kind": self.kind, "count": self.count, "examples": list(self.examples)}


class Findings:
    """Collects names by kind while a data set is checked."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, name: str) -> None:
        """Record that `name` has this problem."""
        self._names[kind].append(shown(name))

    def problems(self, kinds: Iterable[str] = tuple(KINDS)) -> list[Problem]:
        """Return the problems of these kinds, in the order of KINDS."""
        wanted = set(kinds)
        recorded = [(kind, names) for kind, names in self._names.items() if kind in wanted and names]
        return [Problem(kind, len(names), tuple(names[:_EXAMPLES])) for kind, names in recorded]
