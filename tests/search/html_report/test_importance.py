"""The importance of parameters is shown where there is evidence, and agrees with Optuna's own evaluators."""

from __future__ import annotations

import math
import time

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from rsopt.core.objectives import OBJECTIVES
from search.html_report.importance import LEAST, importance

CHOSEN = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params")]
DISTRIBUTIONS = {
    "lr_factor": FloatDistribution(0.3, 2.0, log=True),
    "llm_layers": IntDistribution(4, 8),
    "lora": CategoricalDistribution(("llm", "both")),
    "ranking": CategoricalDistribution(("greedy", "prefix", "symmetric")),
    "qformer_rank": IntDistribution(4, 8),
}


def trials_with_an_answer(number: int) -> list[FrozenTrial]:
    """CIDEr depends most on the learning rate, then on depth, a little on `lora` and not on the rest; latency on depth alone."""
    rng, trials = np.random.default_rng(1), []
    for _ in range(number):
        rate, depth = math.exp(rng.uniform(math.log(0.3), math.log(2.0))), int(rng.integers(4, 9))
        params = {"lr_factor": rate, "llm_layers": depth, "lora": str(rng.choice(["llm", "both"]))}
        params |= {"ranking": str(rng.choice(["greedy", "prefix", "symmetric"]))}
        if params["lora"] == "both":
            params["qformer_rank"] = int(rng.integers(4, 9))
        cider = 300 - 80 * math.log(rate / 1.2) ** 2 - 14 * (8 - depth) + 16 * (params["lora"] == "both") + rng.normal(0, 12)
        over = {name: DISTRIBUTIONS[name] for name in params}
        trials.append(optuna.trial.create_trial(params=params, distributions=over, values=[cider, 6.0 * depth, 1e5 * depth]))
    return trials


@pytest.mark.filterwarnings("ignore:PedAnovaImportanceEvaluator computes")
def test_order_and_shares_agree_with_optunas_evaluators_within_the_spread() -> None:
    trials = trials_with_an_answer(200)
    began = time.process_time()
    result = importance(trials, CHOSEN)
    assert time.process_time() - began < 15, "a page must not wait for it"
    ours = result["of"]["cider"]
    assert list(ours)[:3] == ["lr_factor", "llm_layers", "lora"], "the known answer"
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.add_trials(trials)
    theirs = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=7), target=lambda t: t.values[0])
    assert [n for n in theirs if theirs[n] > 0.02] == [n for n in ours if ours[n][0] > 0.02]
    for name, (share, low, high) in ours.items():
        assert low <= share <= high and low - 0.01 <= theirs[name] <= high + 0.01, name
    best = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target=lambda t: -t.values[0])
    assert set(list(best)[:2]) == {"lr_factor", "llm_layers"}


def test_exact_objectives_and_conditional_parameters_are_left_out() -> None:
    result = importance(trials_with_an_answer(60), CHOSEN)
    assert list(result["of"]) == ["cider", "latency_ms"] and result["left_out"] == ["qformer_rank"]
    assert next(iter(result["of"]["latency_ms"])) == "llm_layers" and result["of"]["latency_ms"]["llm_layers"][1] > 0.9


def test_below_the_number_it_is_hidden_and_says_why() -> None:
    result = importance(trials_with_an_answer(LEAST - 1), CHOSEN)
    assert (
        result["of"] == {} and result["why"] == "needs 50 finished trials, there are 49; an importance from fewer would be noise"
    )
    assert importance(trials_with_an_answer(LEAST), CHOSEN)["why"] is None
