"""Options of a resumed study: a difference to its settings is applied and recorded, or refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsopt.common import json_lines
from rsopt.errors import UserError
from search.storage.layout import CHANGES_FILE
from search.study.options import options_of
from search.study.settings import Settings

_OF_THE_SESSION = ("resume", "name", "storage", "address")


def with_changes(settings: Settings, typed: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """The settings with the options that were `typed` and may change applied, and these changes.

    Raises UserError for fewer trials and for any other option that differs from how the study began.
    """
    known, changed = options_of(Settings), dict[str, Any]()
    for name, value in typed.items():
        stored = getattr(settings, name, None)
        if name in _OF_THE_SESSION or _same(stored, value):
            continue
        if name not in known or not known[name].resumable:
            option = known[name].flag if name in known else f"--{name.replace('_', '-')}"
            began = "without" if stored is None or isinstance(stored, bool) else f"with {stored}"
            raise UserError(
                f"{option}{'' if isinstance(value, bool) else f' {value}'}: study '{settings.name}' began {began}, and its "
                "candidates would not compare; leave the option out, or begin another study"
            )
        if name == "trials" and value < settings.trials:
            raise UserError(
                f"--trials {value}: study '{settings.name}' was already asked for {settings.trials}; only more is allowed"
            )
        changed[name] = value
    return replace(settings, **changed), changed


def record(settings: Settings, before: Settings, changed: Mapping[str, Any]) -> None:
    """Append the changes and the values before them to the study's file of changes."""
    was = {option: getattr(before, option) for option in changed}
    change = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "was": was, "now": dict(changed)}
    json_lines.append(settings.folder / CHANGES_FILE, change)


def _same(stored: Any, value: Any) -> bool:
    """Whether a typed value is the stored one; paths are stored absolute."""
    if stored == value:
        return True
    return isinstance(stored, str) and isinstance(value, str) and stored == str(Path(value).absolute())
