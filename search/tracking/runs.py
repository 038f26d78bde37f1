"""What MLflow should show of a study, as values: its runs, their metrics and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RunMetric = tuple[str, float, int]  # name, value, step


@dataclass(frozen=True, slots=True)
class RunView:
    """What a run should show. `ended_ms` closes it with an MLflow status; times are in ms since 1970."""

    key: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Sequence[RunMetric]
    started_ms: int
    ended_ms: int | None = None
    status: str = "RUNNING"
    files: Mapping[str, Path] = field(default_factory=dict)  # path among the run's artifacts -> local file


@dataclass(frozen=True, slots=True)
class DataView:
    """The data set, as an input of every run. `profile` counts its images and captions."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StudyView:
    """One parent run, one child per candidate, text files of the parent, tags of the experiment, and the data.

    Files named `*.table.json` hold {"columns", "data"}: MLflow shows them as tables.
    """

    parent: RunView
    children: Sequence[RunView]
    files: Mapping[str, str] = field(default_factory=dict)
    experiment_tags: Mapping[str, str] = field(default_factory=dict)
    data: DataView | None = None
