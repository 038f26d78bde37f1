"""Importance of a space's parameters: Optuna's fANOVA (Hutter et al. 2014) over the finished trials, with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from search.study.journal import quiet_optuna

LEAST = 50  # finished trials; Optuna's evaluators contradict each other over fewer
RESAMPLES, TREES, MOST = 20, 4, 200  # a forest takes time in proportion to its trees and trials
METHOD = (
    "fANOVA over the finished trials: the share of an objective's variance that a parameter explains by itself. Median and "
    f"90 % range of {RESAMPLES} resamples of the trials"
)


def importance(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> dict[str, Any]:
    """Returns `method`, `of` ({objective: {parameter: [share, low, high]}}, largest first), `left_out`, and `why` if none.

    Objectives that follow from a candidate exactly are left out, since what decides them is known, and parameters that exist
    only under a condition, since fANOVA needs values in every trial.
    """
    finished = [t for t in trials if t.state == TrialState.COMPLETE and t.params]
    everywhere = set.intersection(*(set(t.params) for t in finished)) if finished else set()
    named = {name for t in finished for name in t.params}
    result: dict[str, Any] = {"method": METHOD, "of": {}, "left_out": sorted(named - everywhere), "why": None}
    if len(finished) < LEAST:
        why = f"needs {LEAST} finished trials, there are {len(finished)}; an importance from fewer would be noise"
        return result | {"why": why}
    varied = [name for name in sorted(everywhere) if len({str(t.params[name]) for t in finished}) > 1]
    if not varied:
        return result | {"why": "no parameter was varied in all trials"}
    rng = np.random.default_rng(0)
    size = min(len(finished), MOST)
    resamples = [[finished[n] for n in rng.integers(len(finished), size=size)] for _ in range(RESAMPLES)]
    for column, objective in enumerate(objectives):
        if objective.exact:
            continue
        drawn = [_shares(some, varied, column) for some in resamples if len({t.values[column] for t in some}) > 1]
        ranges = {name: np.quantile([d[name] for d in drawn], [0.5, 0.05, 0.95]).tolist() for name in varied} if drawn else {}
        if ranges:
            result["of"][objective.name] = dict(sorted(ranges.items(), key=lambda item: -item[1][0]))
    return result


def _shares(trials: Sequence[FrozenTrial], varied: Sequence[str], column: int) -> dict[str, float]:
    with quiet_optuna():
        study = optuna.create_study()
        study.add_trials(
            optuna.trial.create_trial(
                params={name: t.params[name] for name in varied},
                distributions={name: t.distributions[name] for name in varied},
                value=t.values[column],
            )
            for t in trials
        )
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=0))
