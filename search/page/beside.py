"""What stands beside a trial on the page, in lines of text: its refits, and its free points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.table import COLUMNS

SHOWN = ("cider", "latency_ms", "size_mb")


def lines_beside(
    number: int, refits: Mapping[int, Mapping[str, float]], points: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A line for the refits of a trial and one for each of its forms; none where nothing was asked for."""
    lines = []
    if (found := refits.get(number)) is not None:
        spread = f" ± {found['sd']:.1f}" if "sd" in found else ""
        lines.append(
            f"trained again, {found['seeds']} seeds, {found['epochs']:g} epochs: test CIDEr {found['mean']:.1f}{spread}"
        )
    for point in points:
        if point["trial"] == number and "metrics" in point:
            form, metrics = point["form"], point["metrics"]
            told = ", ".join(f"{COLUMNS[n][0]} {COLUMNS[n][1].format(metrics[n])}" for n in SHOWN if n in metrics)
            lines.append(f"{form['weights']}, {form['beams']} beam{'s' * (form['beams'] > 1)}: {told}")
    return lines
