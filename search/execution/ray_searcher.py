"""Ray's side of the seam: a Searcher that asks the study for legs and tells it what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ray.tune.search import Searcher

from rsopt.core.candidate import Leg
from rsopt.errors import InfrastructureError
from search.engine.legs import LegSource
from search.execution.messages import Refused, decode


class FinalTask(Protocol):
    """One more Ray trial after the last leg, which finds a worker with everything in its memory."""

    def config(self) -> dict[str, Any] | None: ...
    def on_result(self, outcome: str | None) -> None: ...


class LegSearcher(Searcher):
    """Nothing is decided here: a Ray trial is a leg, `suggest` is `Search.ask`, a result is `tell`, an error is `report_lost`.

    `failure` is set when the journal could not be written: an exception here would end Ray's loop with everything in it.
    `final_task` follows the last leg of a search that was not stopped.
    """

    def __init__(self, search: LegSource, on_change: Callable[[], None], final_task: FinalTask | None = None) -> None:
        super().__init__()
        self.search, self.on_change, self._final_task = search, on_change, final_task
        self._last: str | None = None  # the final_task's trial while it runs
        self.legs: dict[str, Leg] = {}
        self.failure: InfrastructureError | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A leg as a trial's config, FINISHED when the study is done, None when nothing can start now."""
        if self._last is not None:
            return None
        try:
            leg = None if self.failure else self.search.ask()
        except InfrastructureError as error:
            self.failure, leg = error, None
        if self.failure:
            return Searcher.FINISHED
        if leg is None:
            return self._end(trial_id) if self.search.done else None
        self.legs[trial_id] = leg
        self.on_change()
        return {"leg": leg.to_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A result is a Measurement or a Fault; whatever else ended the trial was not the candidate's doing."""
        if trial_id == self._last:
            assert self._final_task is not None
            self._final_task.on_result(None if error or not result else result.get("outcome"))
            self._final_task = self._last = None
            return
        leg = self.legs.pop(trial_id)
        try:
            if error or not result or "outcome" not in result:
                self.search.report_lost(leg)
            elif isinstance(outcome := decode(result["outcome"]), Refused):
                self.search.report_lost(leg, outcome.reason)
            else:
                self.search.tell(leg, outcome)
        except InfrastructureError as failure:
            self.failure = failure
        self.on_change()

    def _end(self, trial_id: str) -> dict[str, Any] | str | None:
        """The final_task where there is one to run, else FINISHED."""
        config = None if self._final_task is None or self.search.stopped else self._final_task.config()
        if config is None:
            return Searcher.FINISHED
        self._last = trial_id
        return config

    # The journal is the only state: Ray's snapshots of the searcher hold nothing.
    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
