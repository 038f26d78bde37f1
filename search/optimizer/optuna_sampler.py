"""Suggests params by one of Optuna's samplers without writing to the study's journal.

Optuna's samplers write while they draw (a trial, then each parameter; NSGA-II its generation too), so a driver that dies
meanwhile would leave half a candidate. They therefore draw in a study in memory, which is rebuilt from the journal's trials
on opening, and the journal receives each candidate whole. A sampler is created anew for each suggestion from
[seed, trial number, attempt], so a resumed search suggests what an uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from search.optimizer.sampler import Suggestion
from search.space.bound_space import BoundSpace, Params
from search.study.history import History
from search.study.journal import quiet_optuna

# With Optuna's default of 50, the first 50 candidates would be random: more than most studies here have.
NSGA2_POPULATION = 16


class OptunaSampler:
    """A stateful sampler (see `StatefulSampler`): one of Optuna's over a bound space."""

    def __init__(
        self, space: BoundSpace, objectives: Sequence[Objective], name: str, seed: int, prior: Sequence[FrozenTrial] = ()
    ) -> None:
        """Creates the study in memory.

        Args:
            space: what is drawn from.
            objectives: their directions are the study's.
            name: tpe, nsga2 or random.
            seed: the study's seed.
            prior: finished trials of another study.
        """
        self._space, self._name, self._seed = space, name, seed
        self._indices: dict[int, int] = {}  # trial number in the journal -> in the study in memory
        with quiet_optuna():
            self._study = optuna.create_study(directions=["maximize" if o.direction == "max" else "minimize" for o in objectives])
        self._study.add_trials(prior)

    def suggest(
        self, number: int, history: History, attempt: int = 0, given: Params | None = None, random: bool = False
    ) -> Suggestion:
        """See `Sampler.suggest`. Measurements below the last rung (in `history`) are of no use to Optuna's samplers."""
        state = np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)
        with quiet_optuna():
            self._study.sampler = _sampler("random" if random else self._name, int(state[0]))
            if given:
                self._study.enqueue_trial(given)
            trial = self._study.ask()
            params = self._space.suggest(trial)
        system_attrs = self._study.get_trials(deepcopy=False)[trial.number].system_attrs
        return Suggestion(params, dict(system_attrs), trial.number)

    def accept(self, suggestion: Suggestion, number: int) -> None:
        """See `StatefulSampler.accept`."""
        assert suggestion.index is not None
        self._indices[number] = suggestion.index

    def reject(self, suggestion: Suggestion) -> None:
        """See `StatefulSampler.reject`. Optuna's samplers ignore failed trials."""
        assert suggestion.index is not None
        self._study.tell(suggestion.index, state=TrialState.FAIL)

    def add(self, trial: FrozenTrial) -> None:
        """See `StatefulSampler.add`."""
        self._indices[trial.number] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(trial)

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """See `StatefulSampler.tell`."""
        if number in self._indices:
            self._study.tell(self._indices[number], values, state)


class _Nsga2(NSGAIISampler):
    """NSGA-II whose parents are ordered by trial number: Optuna's order differs in the session that chose them."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Parents of a generation, by trial number."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


def _sampler(name: str, seed: int) -> BaseSampler:
    if name == "tpe":
        return TPESampler(seed=seed, constant_liar=True)
    if name == "nsga2":
        return _Nsga2(seed=seed, population_size=NSGA2_POPULATION)
    return RandomSampler(seed=seed)
