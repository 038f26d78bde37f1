"""Captions cleaned by stated rules, each counted, so that no score rests on a silent change of the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from rsopt.data.records import Caption

# The rules, in the order they are applied. The counts of `clean_captions` are captions changed, by these names.
RULES = {
    "spaces": "tabs, line breaks and runs of spaces become one space; none at the ends",
    "glued_period": "a period that ends the caption stands apart: 'a road.' becomes 'a road .'",
    "case": "lower case",
    "empty": "a caption without a letter or digit is left out",
}
_GLUED = re.compile(r"(?<=[^\s.])\.$")


def clean(text: str) -> tuple[str, list[str]]:
    """The cleaned caption ("" if nothing is left of it) and the names of the rules that changed it.

    Idempotent: a cleaned caption is not changed again.
    """
    changed = []
    spaced = " ".join(text.split())
    if spaced != text:
        changed.append("spaces")
    parted = _GLUED.sub(" .", spaced)
    if parted != spaced:
        changed.append("glued_period")
    lowered = parted.lower()
    if lowered != parted:
        changed.append("case")
    if not any(c.isalnum() for c in lowered):
        return "", ["empty"]
    return lowered, changed


def clean_captions(texts: Iterable[str], changes: Counter[str]) -> tuple[Caption, ...]:
    """Distinct cleaned captions in the order of their first use, with how often each stands there.

    Adds to `changes` how many captions each rule changed, and `repeats`: captions kept as weights, not as rows.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        cleaned, rules = clean(text)
        changes.update(rules)
        if cleaned:
            changes["repeats"] += cleaned in counts
            counts[cleaned] += 1
    return tuple(Caption(text, count) for text, count in counts.items())
