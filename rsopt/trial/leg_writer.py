"""Writes what a leg leaves in its study's folder: atomically, and never over what another process wrote first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsopt.common.atomic_files import creating
from rsopt.core.leg_files import CAPTIONS, MEASUREMENT
from rsopt.core.objectives import Measurement


def write_rung(target: Path, measurement: Measurement, captions: Mapping[str, Any]) -> None:
    """Write the files of a rung that has no training."""
    with creating(target) as aside:
        aside.mkdir(parents=True)
        _write_measurement(aside, measurement, captions)


def finish_rung(trained: Path, target: Path, measurement: Measurement, captions: Mapping[str, Any]) -> None:
    """Turn the folder of a finished training (`trained_folder`) into a rung, unless another process wrote that rung first."""
    try:
        _write_measurement(trained, measurement, captions)
        if not target.exists():
            trained.rename(target)
    except FileNotFoundError:
        if not target.exists():
            raise
    shutil.rmtree(trained, ignore_errors=True)  # there only if another process was first


def _write_measurement(folder: Path, measurement: Measurement, captions: Mapping[str, Any]) -> None:
    (folder / CAPTIONS).write_text(json.dumps(captions, indent=1))
    (folder / MEASUREMENT).write_text(json.dumps(measurement.to_json(), indent=1))
