"""TODO."""

from __future__ import annotations

from pathlib import Path

from rsopt.errors import UserError
from rsopt.latency.ledger import read_ledger


def check_ledger(ledger: Path | None, device: str | None) -> None:
    """Raise UserError when a ledger is none, or holds nothing of the device that is stated."""
    if ledger is None:
        return
    devices = {entry.context["device"] for entry in read_ledger(ledger)}
    if device is not None and device not in devices:
        known = ", ".join(f"'{name}'" for name in sorted(devices)) or "none"
        raise UserError(f"latency ledger '{ledger}' holds nothing of device '{device}'; its devices: {known}")
