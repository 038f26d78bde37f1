"""Where a leg leaves its files. No torch: the driver looks here for what a dead one never heard."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def put(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder aside and rename it; whoever comes second with the same one leaves the first alone."""
    aside = target.with_name(f".{target.name.lstrip('.')}.{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        fill(aside)
        if not target.exists():
            aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_rung(
    target: Path, measurement: Measurement, captions: Mapping[str, Any], save: Callable[[Path], None] = lambda _: None
) -> None:
    """Put a rung's files there. `save` writes what else there is, such as the checkpoint, into the folder it is given."""

    def fill(aside: Path) -> None:
        save(aside)
        _measured(aside, measurement, captions)

    put(target, fill)


def finish_rung(trained: Path, target: Path, measurement: Measurement, captions: Mapping[str, Any]) -> None:
    """Make a rung of the folder with its training (`trained_folder`), unless another process with the same leg was first."""
    try:
        _measured(trained, measurement, captions)
        if not target.exists():
            trained.rename(target)
    except FileNotFoundError:
        if not target.exists():
            raise
    shutil.rmtree(trained, ignore_errors=True)  # the rung is there: this is what came second


def _measured(folder: Path, measurement: Measurement, captions: Mapping[str, Any]) -> None:
    (folder / CAPTIONS).write_text(json.dumps(captions, indent=1))
    (folder / MEASUREMENT).write_text(json.dumps(measurement.to_json(), indent=1))


def trained_before(folder: Path, number: int, rung: float) -> float:
    """Seconds of training that candidate `number` had behind it at `rung`, 0 at the beginning."""
    before = read_measurement(folder, number, rung) if rung > 0 else None
    return before.seconds["trained"] if before else 0.0
