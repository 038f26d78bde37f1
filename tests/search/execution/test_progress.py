"""The progress line counts as the final table does, and its hypervolume never falls."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from search.execution.progress import Progress
from search.results.build_front import build_front
from search.results.table import print_front
from search.results.trial_counts import trial_counts
from tests.support.known_cost_search import measure, open_search
from tests.support.simulated_search import METADATA, settings_of


def test_line_and_table_count_alike_and_the_hypervolume_never_falls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = open_search(tmp_path, trials=8)
    progress = Progress(search, settings_of("s", trials=8))
    lines = [progress.line()]
    while (leg := search.ask()) is not None:
        progress.update()
        lines.append(progress.line())
        assert trial_counts(search.history) in lines[-1]
        search.tell(leg, measure(leg))
    progress.end()
    lines.append(progress.line())
    assert lines[0].startswith("trials (of 8): none") and "references running" in lines[1]
    assert any("resting" in line for line in lines), "a candidate between two legs is neither stopped nor done"
    shown = [float(found[1]) for line in lines if (found := re.search(r"hypervolume ([\d.]+)", line))]
    assert len(shown) > 5 and all(a <= b for a, b in pairwise(shown)) and shown[0] < shown[-1]
    counts = re.match(r"trials \(of 8\): ([^|]+) \|", lines[-1])
    assert counts is not None and "stopped" in counts[1]
    capsys.readouterr()
    print_front(build_front("s", METADATA, search.history), Console(width=160))
    assert f"trials: {counts[1]}; hypervolume {shown[-1]:.3f} " in capsys.readouterr().out
    search.close()
