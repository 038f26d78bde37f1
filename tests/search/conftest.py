"""One small finished study for all tests that look at what comes after a search."""

from __future__ import annotations

import pytest

from search.settings import Settings
from tests.small_study import make_study


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A real study on the shipped base: zero-shot, full depth, one candidate, one left at its first rung. Not to be changed."""
    return make_study(tmp_path_factory.mktemp("small"))
