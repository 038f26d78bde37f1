"""Ray's side of the seam: a Searcher that asks the study for legs and tells it what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from rsopt.objectives import Fault, Measurement
from rsopt.recipe import Leg
from search.study import Search


class LegSearcher(Searcher):
    """Nothing is decided here: a Ray trial is a leg, `suggest` is `Search.next`, a result is `tell`, an error is `lost`."""

    def __init__(self, search: Search, on_change: Callable[[], None]) -> None:
        super().__init__()
        self.search, self.on_change = search, on_change
        self.legs: dict[str, Leg] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A leg as a trial's config, FINISHED when the study is done, None when nothing can start now."""
        leg = self.search.next()
        if leg is None:
            return Searcher.FINISHED if self.search.done else None
        self.legs[trial_id] = leg
        self.on_change()
        return {"leg": leg.to_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A result is a Measurement or a Fault; whatever else ended the trial was not the candidate's doing."""
        leg = self.legs.pop(trial_id)
        if error or not result or "outcome" not in result:
            self.search.lost(leg)
        else:
            self.search.tell(leg, decode(result["outcome"]))
        self.on_change()

    # The journal is the only state: Ray's snapshots of the searcher hold nothing.
    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def encode(outcome: Measurement | Fault) -> str:
    """An outcome as one string: Ray would flatten a nested result."""
    kind = "measurement" if isinstance(outcome, Measurement) else "fault"
    return json.dumps({kind: outcome.to_json()})


def decode(text: str) -> Measurement | Fault:
    """Inverse of `encode`."""
    data = json.loads(text)
    return Measurement(**data["measurement"]) if "measurement" in data else Fault(**data["fault"])
