"""The table of the hand-made study as it was reported, and what is wrong in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("reference_study.json")


def read_reference_study() -> dict[str, Any]:
    """Reads the study: `rows` with what it `said` (reported) under our metrics' names, and which of its `columns` hold.

    A row with `here` has a counterpart of that name in `spaces/report.yaml`; one with `system` is another captioner.
    """
    study: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return study
