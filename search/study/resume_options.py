"""Options of a resumed study: what differs from how it was begun is applied and written down, or refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rsopt.common import json_lines
from rsopt.errors import UserError
from search.storage.layout import CHANGES_FILE
from search.study.settings import Settings

# How long and where a study runs, and what counts as feasible from now on. All else decides what its candidates mean.
HARMLESS = (
    "trials",
    "workers",
    "gpus_per_trial",
    "tracking_uri",
    "hours",
    "gpu_hours",
    "max_params",
    "max_latency_ms",
    "max_memory_gb",
    "disk_gb",
)
_OF_THE_SESSION = ("resume", "name", "storage", "address", "given")


def with_changes(settings: Settings, given: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings with the harmless ones of the `given` options applied, and what that changed.

    Raises UserError for fewer trials and for any other option that differs from how the study was begun.
    """
    stored, changed = asdict(settings), dict[str, Any]()
    for option, value in given.items():
        if option in _OF_THE_SESSION or _same(stored.get(option), value):
            continue
        name = f"--{option.replace('_', '-')}"
        if option not in HARMLESS or option not in stored:
            was = f"began with {stored[option]}" if option in stored else "began without"
            raise UserError(
                f"{name} {value}: study '{settings.name}' {was}, and its candidates would not compare; "
                "leave the option out, or begin another study"
            )
        if option == "trials" and value < settings.trials:
            raise UserError(
                f"--trials {value}: study '{settings.name}' was already asked for {settings.trials}; only more is allowed"
            )
        changed[option] = value
    return replace(settings, **changed), changed


def record(settings: Settings, before: Settings, changed: Mapping[str, Any]) -> None:
    """Append what changed, a JSON object a line."""
    was = {option: getattr(before, option) for option in changed}
    change = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "was": was, "now": dict(changed)}
    json_lines.append(settings.folder / CHANGES_FILE, change)


def _same(stored: Any, value: Any) -> bool:
    if stored == value:
        return True
    return isinstance(stored, str) and isinstance(value, str) and stored == str(Path(value).absolute())
