"""TODO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.space.bound_space import Params
from search.study.history import History


@dataclass(frozen=True, slots=True)
class Draw:
    """Params with what Optuna keeps beside them. `index` is their trial in the sampler's own study."""

    params: Params
    distributions: dict[str, BaseDistribution]
    system_attrs: dict[str, Any]
    index: int


class Sampler(Protocol):
    """Draws params for new candidates. Every draw must be kept or dropped before the next one."""

    def draw(
        self,
        number: int,
        history: History,
        attempt: int = 0,
        given: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Draw: ...
    def keep(self, draw: Draw, number: int) -> None: ...
    def drop(self, draw: Draw) -> None: ...
    def add(self, trial: FrozenTrial) -> None: ...
    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None: ...
