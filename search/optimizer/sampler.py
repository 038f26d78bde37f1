"""Samplers suggest the params of new candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from optuna.trial import FrozenTrial, TrialState

from search.space.bound_space import Params
from search.study.history import History


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Params of a new candidate.

    `system_attrs` are what Optuna records with them; `index` is the number that a stateful sampler gave the suggestion.
    """

    params: Params
    system_attrs: dict[str, Any] = field(default_factory=dict)
    index: int | None = None


class Sampler(Protocol):
    """Suggests params for new candidates from the history alone."""

    def suggest(
        self, number: int, history: History, attempt: int = 0, given: Params | None = None, random: bool = False
    ) -> Suggestion:
        """Returns params for trial `number`. The same arguments give the same params.

        Args:
            number: the trial that the params are for; the study's next one.
            history: every candidate so far.
            attempt: counts the suggestions for this trial that were rejected; another attempt gives other params.
            given: params of a starting point, taken as they are; the sampler adds those that are missing.
            random: draw uniformly instead.
        """
        ...


@runtime_checkable
class StatefulSampler(Sampler, Protocol):
    """A sampler that keeps its own record of the study's trials and must hear of every change.

    Each suggestion must be accepted or rejected before the next one is asked for.
    """

    def accept(self, suggestion: Suggestion, number: int) -> None:
        """The suggestion became trial `number`."""

    def reject(self, suggestion: Suggestion) -> None:
        """The suggestion became no trial."""

    def add(self, trial: FrozenTrial) -> None:
        """Adds a trial of the study that this sampler did not suggest: a reference, or one of an earlier session."""

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Trial `number` ended. Numbers that were neither accepted nor added (the zero-shot base) are ignored."""
