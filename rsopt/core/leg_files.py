"""Files of a leg: where they are and how they are read. No torch, since the driver recovers results from them."""

from __future__ import annotations

import json
from pathlib import Path

from rsopt.core.objectives import Measurement

STATE, MEASUREMENT, CAPTIONS, CURVE = "state.safetensors", "measurement.json", "captions.json", "curve.json"


def rung_folder(folder: Path, number: int, rung: float) -> Path:
    """Returns the folder with checkpoint, captions and measurement of candidate `number` at `rung`. It appears by one rename."""
    return folder / "candidates" / f"{number:04d}" / f"rung-{rung:.4f}"


def trained_folder(folder: Path, number: int, rung: float) -> Path:
    """Returns the folder of a training that reached this rung and is not measured yet."""
    return rung_folder(folder, number, rung).with_name(f".trained-{rung:.4f}")


def scores_file(folder: Path, number: int, form: str) -> Path:
    """Returns the file with the scores of candidate `number` on the test split, taken in the inference variant `form`."""
    return folder / "candidates" / f"{number:04d}" / f"test-{form}.json"


def read_measurement(folder: Path, number: int, rung: float) -> Measurement | None:
    """Returns the measurement of a finished leg, or None."""
    path = rung_folder(folder, number, rung) / MEASUREMENT
    return Measurement(**json.loads(path.read_text())) if path.exists() else None


def read_curve(folder: Path, number: int) -> dict[str, list[list[float]]] | None:
    """Returns `train` and `val` losses of a candidate's whole training as [step, nats a token], or None where there are none."""
    paths = sorted((folder / "candidates" / f"{number:04d}").glob(f"rung-*/{CURVE}"))
    parts = [json.loads(path.read_text()) for path in paths]
    return {name: [point for part in parts for point in part[name]] for name in ("train", "val")} if parts else None


def read_captions(folder: Path, number: int, rung: float) -> dict[str, dict[str, str]] | None:
    """Returns `captions` and `cider` by image id, or None."""
    path = rung_folder(folder, number, rung) / CAPTIONS
    return json.loads(path.read_text()) if path.exists() else None


def trained_before(folder: Path, number: int, rung: float) -> float:
    """Returns the seconds of training that candidate `number` had spent at `rung`, 0 at the start."""
    measurement = read_measurement(folder, number, rung) if rung > 0 else None
    return measurement.seconds["trained"] if measurement else 0.0
