"""Where a leg leaves its files. No torch: the driver looks here for what a dead one never heard."""

from __future__ import annotations

import json
from pathlib import Path

from rsopt.core.objectives import Measurement

STATE, MEASUREMENT, CAPTIONS, CURVE = "state.safetensors", "measurement.json", "captions.json", "curve.json"


def rung_folder(folder: Path, number: int, rung: float) -> Path:
    """The folder of candidate `number` at `rung`: checkpoint, captions and measurement, put there by one rename."""
    return folder / "candidates" / f"{number:04d}" / f"rung-{rung:.4f}"


def trained_folder(folder: Path, number: int, rung: float) -> Path:
    """Where the checkpoint of a training that reached this rung waits for its measurement."""
    return rung_folder(folder, number, rung).with_name(f".trained-{rung:.4f}")


def scores_file(folder: Path, number: int, form: str) -> Path:
    """Where the scores on the test split of candidate `number` are kept, once they were taken in this form."""
    return folder / "candidates" / f"{number:04d}" / f"test-{form}.json"


def read_measurement(folder: Path, number: int, rung: float) -> Measurement | None:
    """What a finished leg wrote down, or None."""
    path = rung_folder(folder, number, rung) / MEASUREMENT
    return Measurement(**json.loads(path.read_text())) if path.exists() else None


def read_curve(folder: Path, number: int) -> dict[str, list[list[float]]] | None:
    """Losses by step of a candidate's whole training, `train` and `val` ([step, nats a token]); None where none was kept."""
    paths = sorted((folder / "candidates" / f"{number:04d}").glob(f"rung-*/{CURVE}"))
    parts = [json.loads(path.read_text()) for path in paths]
    return {name: [point for part in parts for point in part[name]] for name in ("train", "val")} if parts else None


def read_captions(folder: Path, number: int, rung: float) -> dict[str, dict[str, str]] | None:
    """`captions` and `cider` by image id, or None."""
    path = rung_folder(folder, number, rung) / CAPTIONS
    return json.loads(path.read_text()) if path.exists() else None


def trained_before(folder: Path, number: int, rung: float) -> float:
    """Seconds of training that candidate `number` had behind it at `rung`, 0 at the beginning."""
    before = read_measurement(folder, number, rung) if rung > 0 else None
    return before.seconds["trained"] if before else 0.0
