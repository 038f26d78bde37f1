"""Files that a reader sees whole: the old one or the new one. No torch."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write aside and rename, so that a reader sees the old file or the new one."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        aside.write_text(json.dumps(value, indent=1) + "\n")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
