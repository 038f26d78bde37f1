"""TODO."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rsopt.core.objectives import Fault, Measurement

REMEASURE = "again"  # legs to measure again, in a trial's config, and what was found, in its outcome


@dataclass(frozen=True, slots=True)
class Refused:
    """A leg that the machine would not run (no base, no room): not the candidate's fault, but known."""

    reason: str


def encode(outcome: Measurement | Fault | Refused) -> str:
    """An outcome as one string: Ray would flatten a nested result."""
    if isinstance(outcome, Refused):
        return json.dumps({"refused": outcome.reason})
    kind = "measurement" if isinstance(outcome, Measurement) else "fault"
    return json.dumps({kind: outcome.to_json()})


def decode(text: str) -> Measurement | Fault | Refused:
    """Inverse of `encode`."""
    data = json.loads(text)
    if "refused" in data:
        return Refused(data["refused"])
    return Measurement(**data["measurement"]) if "measurement" in data else Fault(**data["fault"])
