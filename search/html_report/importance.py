"""Importance of a space's parameters: Optuna's fANOVA (Hutter et al. 2014) over the finished trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.objectives import Objective
from search.study.journal import quiet_optuna

LEAST = 10  # finished trials; an importance from fewer would be noise
METHOD = "fANOVA over the finished trials: the share of an objective's variance that a parameter explains by itself"


def importance(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> dict[str, Any]:
    """Returns `method`, `of` ({objective: {parameter: share}}, largest first), `left_out`, and `why` where there is none.

    Parameters that exist only under a condition are left out, since fANOVA needs values in every trial.
    """
    finished = [t for t in trials if t.state == TrialState.COMPLETE and t.params]
    everywhere = set.intersection(*(set(t.params) for t in finished)) if finished else set()
    named = {name for t in finished for name in t.params}
    result: dict[str, Any] = {"method": METHOD, "of": {}, "left_out": sorted(named - everywhere), "why": None}
    if len(finished) < LEAST:
        return result | {"why": f"needs {LEAST} finished trials, there are {len(finished)}"}
    varied = [name for name in sorted(everywhere) if len({str(t.params[name]) for t in finished}) > 1]
    if not varied:
        return result | {"why": "no parameter was varied in all trials"}
    with quiet_optuna():
        for column, objective in enumerate(objectives):
            study = optuna.create_study()
            study.add_trials(
                optuna.trial.create_trial(
                    params={name: t.params[name] for name in varied},
                    distributions={name: t.distributions[name] for name in varied},
                    value=t.values[column],
                )
                for t in finished
            )
            if len({t.values[column] for t in finished}) > 1:
                shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
                result["of"][objective.name] = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return result
