"""Ray Tune searcher that passes suggestions and results between Ray and the search. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.tune.search import Searcher

from rsopt.core.candidate import Leg
from rsopt.errors import InfrastructureError
from search.engine.legs import LegSource
from search.execution.messages import Refused, decode


class FinalTask(Protocol):
    """Ray trials for workers that have no more legs to run; they have base and data in memory.

    `config` returns the next trial's, None while there is none to start; `on_result` takes its outcome, None if it was lost.
    """

    def config(self) -> dict[str, Any] | None: ...
    def on_result(self, config: Mapping[str, Any], outcome: str | None) -> None: ...

    @property
    def done(self) -> bool: ...


class LegSearcher(Searcher):
    """Runs each leg as a Ray trial: `suggest` calls `ask`, a result calls `tell`, an error calls `report_lost`.

    `failure` is set when the journal could not be written, since an exception here would end Ray's loop and all running
    legs. `final_task` gets the workers that find no leg once no more candidates are started, unless the search was stopped.
    """

    def __init__(self, search: LegSource, on_change: Callable[[], None], final_task: FinalTask | None = None) -> None:
        super().__init__()
        self.search, self.on_change, self._final_task = search, on_change, final_task
        self._final: dict[str, dict[str, Any]] = {}  # configs of the final task's trials that run, by trial id
        self.legs: dict[str, Leg] = {}
        self.failure: InfrastructureError | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns a leg as a trial's config, FINISHED when the search is done, None when nothing can start now."""
        try:
            leg = None if self.failure else self.search.ask()
        except InfrastructureError as error:
            self.failure, leg = error, None
        if self.failure:
            return Searcher.FINISHED
        if leg is None:
            return self._final_trial(trial_id)
        self.legs[trial_id] = leg
        self.on_change()
        return {"leg": leg.to_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Report a trial's Measurement or Fault to the search, or its leg as lost for any other end of the trial."""
        if (config := self._final.pop(trial_id, None)) is not None:
            assert self._final_task is not None
            self._final_task.on_result(config, None if error or not result else result.get("outcome"))
            self.on_change()
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

    def _final_trial(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the config of the final task's next trial, None while there is nothing to start, FINISHED at the end."""
        task = None if self.search.stopped else self._final_task
        config = None if task is None or self.search.room else task.config()
        if config is not None:
            self._final[trial_id] = config
            return config
        return Searcher.FINISHED if self.search.done and (task is None or task.done) else None

    # The journal is the only state, so Ray's snapshots of the searcher are empty.
    def save(self, checkpoint_path: str) -> None:
        """Do nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
