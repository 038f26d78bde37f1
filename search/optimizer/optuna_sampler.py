"""OptunaSampler: draws params by one of Optuna's samplers, without touching the journal.

Optuna's samplers write while they draw (a trial, then each parameter, NSGA-II its generation too), and a driver that
dies meanwhile would leave half a candidate. So they draw in a study in memory, which is rebuilt from the journal's trials
on opening, and the journal receives each candidate whole. A sampler is created anew for each draw from
[seed, trial number, attempt], so a resumed search draws what the undisturbed one would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from rsopt.errors import UserError
from search.optimizer.sampler import Draw
from search.space.bound_space import BoundSpace
from search.study.history import History
from search.study.journal import quiet

OPTUNA_SAMPLERS = ("tpe", "nsga2", "random")
# Optuna's 50 would make the first 50 candidates random: more than most of our studies have.
NSGA2_POPULATION = 16


class OptunaSampler:
    """One of Optuna's samplers over a bound space."""

    def __init__(self, space: BoundSpace, objectives: Sequence[Objective], name: str, seed: int) -> None:
        if name not in OPTUNA_SAMPLERS:
            raise UserError(f"unknown sampler '{name}'; known: {', '.join(('known_cost', *OPTUNA_SAMPLERS))}")
        self._space, self._name, self._seed = space, name, seed
        self._indices: dict[int, int] = {}  # trial number in the journal -> in the study in memory
        with quiet():
            self._study = optuna.create_study(
                directions=["maximize" if o.direction == "max" else "minimize" for o in objectives]
            )

    def draw(
        self,
        number: int,
        history: History = (),
        attempt: int = 0,
        given: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Draw:
        """Params for trial `number`; another `attempt` draws others. `given` ones are taken as they are.

        `name` draws by another sampler than the usual one. What was measured on the way (`history`) Optuna's cannot use.
        """
        state = np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)
        with quiet():
            self._study.sampler = _sampler(name or self._name, int(state[0]))
            if given:
                self._study.enqueue_trial(dict(given))
            trial = self._study.ask()
            params = self._space.suggest(trial)
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        return Draw(params, dict(frozen.distributions), dict(frozen.system_attrs), trial.number)

    def keep(self, draw: Draw, number: int) -> None:
        """The draw became trial `number` of the journal."""
        self._indices[number] = draw.index

    def drop(self, draw: Draw) -> None:
        """The draw became nothing: samplers overlook failed trials."""
        self._study.tell(draw.index, state=TrialState.FAIL)

    def add(self, trial: FrozenTrial) -> None:
        """Learn of a trial that was not drawn here: one of the journal on opening, or a reference point."""
        self._indices[trial.number] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(trial)

    def learn(self, trial: FrozenTrial) -> None:
        """Learn of a finished trial of another study."""
        self._study.add_trial(trial)

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """How a trial ended. A number that was never kept or added (the zero-shot base) teaches nothing."""
        if number in self._indices:
            self._study.tell(self._indices[number], values, state)


class _Nsga2(NSGAIISampler):
    """NSGA-II with its parents always in the same order: Optuna's come otherwise ordered when it has just chosen them."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Parents of a generation, by trial number."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


def _sampler(name: str, seed: int) -> BaseSampler:
    if name == "tpe":
        return TPESampler(seed=seed, constant_liar=True)
    if name == "nsga2":
        return _Nsga2(seed=seed, population_size=NSGA2_POPULATION)
    return RandomSampler(seed=seed)
