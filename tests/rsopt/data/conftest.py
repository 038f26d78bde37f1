"""Fixtures of the data tests: an empty cache for each, and one small data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.data_formats import Drawn, drawn_set, write_karpathy


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def items(tmp_path: Path) -> list[Drawn]:
    """The images of the set; their files are in `tmp_path`/drawn."""
    return drawn_set(tmp_path / "drawn")


@pytest.fixture
def root(tmp_path: Path, items: list[Drawn]) -> Path:
    """The set in RSICD's layout."""
    return write_karpathy(tmp_path / "rsicd", items)
