"""Failures of stock Ray Tune with OptunaSearch that this project avoids, one test for each.

Stopped trials reported as complete, NaN that hangs, a missing metric or an exception that ends the run, no limits, repeated
candidates, hooks that cannot be pickled, and an incomplete restore.
"""

import math
import pickle
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from rsopt.core.candidate import Leg
from rsopt.core.objectives import Fault, Measurement
from search.execution.messages import decode, encode
from search.execution.ray_searcher import LegSearcher
from search.study.history import final_values
from search.study.limits import Limits
from search.tracking.study_runs import study_view
from tests.support.known_cost_search import measure as measure_by_formula
from tests.support.known_cost_search import open_search as open_known_cost
from tests.support.simulated_search import METADATA, keys, make_space, measure, open_search, optuna_states, run_legs, settings_of


class Tune:
    """Stands in for Ray Tune: asks the searcher for trials and completes them."""

    def __init__(self, search):
        self.searcher = LegSearcher(search, lambda: None)

    def run(self, result, steps=1000):
        """Run trials to the end. `result` returns for a leg a result, None, or an exception class for an error."""
        for step in range(steps):
            config = self.searcher.suggest(f"t{step}")
            if not isinstance(config, dict):
                return config
            returned = result(Leg.from_json(config["leg"]))
            failed = isinstance(returned, type)
            self.searcher.on_trial_complete(f"t{step}", None if failed else returned, error=failed)
        raise AssertionError("the search does not end")


def outcome(leg):
    return {"outcome": encode(measure(leg))}


def test_a_stopped_trial_is_pruned_and_on_no_front(tmp_path):
    search = open_known_cost(tmp_path, trials=30)
    run_legs(search, measure_by_formula)
    stopped = [c for c in search.history if c.state == "stopped"]
    assert stopped and all(final_values(c, search.settings.objectives) is None for c in stopped)
    trials = search._journal.trials()
    assert {trials[c.number].state for c in stopped} == {TrialState.PRUNED}
    assert not {t.number for t in search._journal._study.best_trials} & {c.number for c in stopped}


@pytest.mark.parametrize(
    "bad",
    [
        lambda leg: {"outcome": encode(Measurement(leg.stop, {**measure(leg).metrics, "cider": math.nan}, {}))},
        lambda leg: {"outcome": encode(Measurement(leg.stop, {}, {}))} if leg.last else outcome(leg),
        lambda leg: {"outcome": encode(Fault(leg.stop, "exception", "ValueError: boom (x.py:1)"))},
        lambda leg: {"outcome": encode(Fault(leg.stop, "memory", "out of memory"))},
    ],
    ids=["nan", "missing metric", "exception", "memory"],
)
def test_a_bad_candidate_ends_alone(tmp_path, bad):
    search = open_search(tmp_path)
    ended = Tune(search).run(lambda leg: bad(leg) if leg.number == 4 else outcome(leg))
    assert ended == LegSearcher.FINISHED and search.done
    # A candidate that did not fit is infeasible, with its memory; the others failed.
    ended_so = ("failed", "infeasible")
    assert [c.number for c in search.history if c.state in ended_so] == [4] and search.history[4].reason
    assert optuna_states(search).count(TrialState.PRUNED) == 1 and TrialState.RUNNING not in optuna_states(search)


@pytest.mark.parametrize("broken", [RuntimeError, None, {}], ids=["error", "no result", "empty result"])
def test_what_is_not_the_candidates_fault_is_tried_again(tmp_path, broken):
    search, seen = open_search(tmp_path), set()

    def flaky(leg):
        first = (leg.number, leg.stop) not in seen
        seen.add((leg.number, leg.stop))
        return broken if first else outcome(leg)

    assert Tune(search).run(flaky) == LegSearcher.FINISHED
    assert {c.state for c in search.history} == {"complete"} and all(len(c.lost) >= 1 for c in search.history)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_limits_refuse_before_a_gpu_second(tmp_path, sampler):
    trained = []
    search = open_search(
        tmp_path,
        sampler=sampler,
        limit=lambda c: "limit: too deep" if len(c.variant.llm_layers) > 5 else None,
        limits=Limits(params=5_000_000),
        trials=10,
    )

    def note(leg):
        trained.append(leg)
        return outcome(leg)

    Tune(search).run(note)
    front = [c for c in search.history if final_values(c, search.settings.objectives) is not None]
    assert all(len(leg.candidate.variant.llm_layers) <= 5 for leg in trained if leg.number > 1)
    assert front and all(c.final.metrics["params"] <= 5e6 for c in front)
    refused = [c for c in search.history if c.state == "infeasible"]
    assert refused and all(c.reason == "limit: too deep" and not c.rungs for c in refused)

    def counts_of(history):
        view = study_view(settings_of("s"), METADATA, history, search.times, "complete", 0)
        return {name: value for name, value, _ in view.parent.metrics}

    counts = counts_of(search.history)
    assert counts["trials.infeasible"] == len(refused) and counts["infeasible_legs"] == 0
    trained_later = replace(refused[0], rungs=(Measurement(0.5, {}, {}),))  # found infeasible by a measurement
    seen = (*search.history[: trained_later.number], trained_later, *search.history[trained_later.number + 1 :])
    assert counts_of(seen)["infeasible_legs"] == 1


def test_a_repeated_candidate_is_never_trained_twice(tmp_path):
    space = make_space(tmp_path, "{llm_layers: {layers: [0.5, 1.0]}, lora: {choice: [llm, both]}}", "[]")
    search = open_search(tmp_path, space, trials=100)
    Tune(search).run(outcome)
    assert search.exhausted and len(set(keys(search.history))) == len(search.history) == 11  # ten and the untuned base


def test_hooks_that_cannot_be_pickled_stay_in_the_driver(tmp_path):
    search = open_search(tmp_path, limit=lambda c: None, scheduler=lambda *a: open_known_cost and run_all(*a))
    searcher = LegSearcher(search, lambda: None)
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(search._optimizer.limit)
    pickle.dumps(searcher)  # Ray pickles it for its snapshots
    searcher.save(str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def run_all(history, room, seed):
    from search.optimizer.scheduler import run_to_end

    return run_to_end(history, room, seed)


def test_save_and_restore_is_the_journal_alone(tmp_path):
    whole = open_known_cost(tmp_path / "whole", trials=14)
    Tune(whole).run(outcome)
    steps = 0
    while True:
        parts = open_known_cost(tmp_path / "parts", trials=14)
        tune = Tune(parts)
        for step in range(3):  # a session that dies with a leg in flight
            config = tune.searcher.suggest(f"s{steps}-{step}")
            if not isinstance(config, dict):
                break
            if step < 2:
                tune.searcher.on_trial_complete(f"s{steps}-{step}", outcome(Leg.from_json(config["leg"])))
        steps += 1
        parts.close()
        if not isinstance(config, dict):
            break
    assert steps > 5 and parts.history == whole.history and parts.done
    assert decode(outcome(Leg.from_json(Leg(0, whole.history[0].candidate, 0.0, 1.0, 1).to_json()))["outcome"])
