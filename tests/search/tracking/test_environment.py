"""MLflow's settings are set by commands, and what the user has set stays."""

from __future__ import annotations

import os

import pytest

from search.tracking.environment import DEFAULTS, configure


def test_defaults_are_set_and_the_users_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    configure()
    assert {name: os.environ[name] for name in DEFAULTS} == DEFAULTS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
