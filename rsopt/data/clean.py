"""Cleans captions by stated rules and counts the changes of each, so that no text changes silently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from rsopt.data.records import Caption

# In the order of application. `clean_captions` counts changed captions by these names.
RULES = {
    "spaces": "tabs, line breaks and runs of spaces become one space; none at the ends",
    "glued_period": "a final period is set apart: 'a road.' becomes 'a road .'",
    "case": "lower case",
    "empty": "a caption without a letter or digit is left out",
}
_GLUED = re.compile(r"(?<=[^\s.])\.$")


def clean(text: str) -> tuple[str, list[str]]:
    """Return the cleaned caption ("" if it has no letter or digit) and the names of the rules that changed it.

    Cleaning a cleaned caption changes nothing.
    """
    changed = []
    spaced = " ".join(text.split())
    if spaced != text:
        changed.append("spaces")
    separated = _GLUED.sub(" .", spaced)
    if separated != spaced:
        changed.append("glued_period")
    lowered = separated.lower()
    if lowered != separated:
        changed.append("case")
    if not any(c.isalnum() for c in lowered):
        return "", ["empty"]
    return lowered, changed


def clean_captions(texts: Iterable[str], changes: Counter[str]) -> tuple[Caption, ...]:
    """Return the distinct cleaned captions in order of first use, each with its number of repetitions.

    Adds to `changes` the number of captions that each rule changed, and `repeats`: captions that became a weight.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        cleaned, rules = clean(text)
        changes.update(rules)
        if cleaned:
            changes["repeats"] += cleaned in counts
            counts[cleaned] += 1
    return tuple(Caption(text, count) for text, count in counts.items())
