"""Writes a study's page. Everything is read from its folder, so it can be written again at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsopt.common.atomic_files import write_asked
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from search.html_report.content import page_content
from search.html_report.render import render
from search.optimizer.exact_costs import exact_costs, recorded_latencies
from search.results.build_front import study_front
from search.results.front import Front
from search.storage.layout import PAGE_FILE
from search.study.history import CandidateState, History
from search.study.journal import read_history, read_trials
from search.study.settings import load_study


def write_page(folder: Path, path: Path | None = None, data: CaptionData | None = None, front: Front | None = None) -> Path:
    """Writes the page of a study's folder to `path`, by default `front.html` in it, and returns where.

    `data` and `front` save reading and building them again. Where the data is gone, the page has no pictures; where the
    base's configuration is gone, trials without a measurement are in no chart.
    """
    settings, metadata = load_study(folder)
    history = read_history(folder)
    if data is None:
        try:
            data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
        except UserError:
            data = None
    path = path or folder / PAGE_FILE
    costs = known_costs(settings.base, settings.ledger, history)
    front = front or study_front(folder)
    write_asked(path, render(page_content(settings, metadata, history, read_trials(folder), data, costs, front)))
    return path


def known_costs(base: str, ledger: Path, history: History) -> dict[int, Mapping[str, float]]:
    """Returns exact costs, and recorded latencies of the same depths, of trials that were not measured to the end."""
    unmeasured = [c for c in history if c.final is None]
    if not unmeasured:
        return {}
    try:
        exact = exact_costs(base, "float32")
    except UserError:
        return {}
    recorded = {one.architecture: one.latency_ms for one in recorded_latencies(ledger, base)}

    def of(c: CandidateState) -> dict[str, float]:
        latency = recorded.get(c.candidate.variant.architecture())
        return dict(exact(c.candidate)) | ({} if latency is None else {"latency_ms": latency})

    return {c.number: of(c) for c in unmeasured}
