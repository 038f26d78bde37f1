"""Where a leg leaves its files. No torch: the driver looks here for what a dead one never heard."""

from __future__ import annotations

import json
from pathlib import Path

from rsopt.objectives import Measurement

STATE, MEASUREMENT, CAPTIONS = "state.safetensors", "measurement.json", "captions.json"


def rung_folder(folder: Path, number: int, rung: float) -> Path:
    """The folder of candidate `number` at `rung`: checkpoint, captions and measurement, put there by one rename."""
    return folder / "candidates" / f"{number:04d}" / f"rung-{rung:.4f}"


def scores_file(folder: Path, number: int, form: str) -> Path:
    """Where the scores on the test split of candidate `number` are kept, once they were taken in this form."""
    return folder / "candidates" / f"{number:04d}" / f"test-{form}.json"


def read_measurement(folder: Path, number: int, rung: float) -> Measurement | None:
    """What a finished leg wrote down, or None."""
    path = rung_folder(folder, number, rung) / MEASUREMENT
    return Measurement(**json.loads(path.read_text())) if path.exists() else None


def read_captions(folder: Path, number: int, rung: float) -> dict[str, dict[str, str]] | None:
    """`captions` and `cider` by image id, or None."""
    path = rung_folder(folder, number, rung) / CAPTIONS
    return json.loads(path.read_text()) if path.exists() else None
