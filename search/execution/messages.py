"""Messages between a Ray trial and the driver: an outcome as one string, and refusals of a machine."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass

from rsopt.core.objectives import Fault, Measurement
from rsopt.errors import InfrastructureError, UserError, refusal

REMEASURE = "again"  # the leg to measure again, in a trial's config, and metrics of its latency, in its outcome


@dataclass(frozen=True, slots=True)
class Refused:
    """A leg that the machine would not run (no base, no room): not the candidate's fault, but with a known reason."""

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


def trial_result(run: Callable[[], str]) -> dict[str, str]:
    """A Ray trial's result with the outcome that `run` returns, or with the reason why this machine refused to run it.

    Refusals are what a person can put right, such as no base or no room. Every other error is raised, for Ray to see.
    """
    try:
        return {"outcome": run()}
    except (InfrastructureError, UserError) as error:
        reason = " ".join(str(error).split())
    except OSError as error:
        if (refused := refusal(error)) is None:
            raise
        reason = f"{platform.node()}: {refused}"
    return {"outcome": encode(Refused(reason))}
