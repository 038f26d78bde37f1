"""TODO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunView:
    """What a run should show. Metrics are (name, value, step); `ended` closes the run with an MLflow status."""

    key: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]
    started_ms: int
    ended_ms: int | None = None
    status: str = "RUNNING"
    files: Mapping[str, Path] = field(default_factory=dict)  # place among the run's artifacts -> file here


@dataclass(frozen=True, slots=True)
class DataView:
    """The data set, as an input of every run. `profile` is what a person wants to know of it."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StudyView:
    """One parent run, one child a candidate, small text files of the parent, tags of the experiment, the data.

    Files named `*.table.json` hold {"columns", "data"}: MLflow shows them as tables.
    """

    parent: RunView
    children: Sequence[RunView]
    files: Mapping[str, str] = field(default_factory=dict)
    experiment_tags: Mapping[str, str] = field(default_factory=dict)
    data: DataView | None = None
