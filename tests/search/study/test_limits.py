"""Limits, budgets and estimates: what is known before a candidate runs, and what follows from it."""

import math
from dataclasses import replace

import pytest

from rsopt.common.out_of_memory import note_exceeded
from rsopt.core.candidate import Candidate
from rsopt.core.objectives import OBJECTIVES, Measurement
from rsopt.core.recipe import Recipe
from rsopt.core.variant import Architecture, LoraPart, LoraSpec, Variant
from rsopt.errors import UserError
from rsopt.latency.additive_model import LEAST, TimedArchitecture
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.feasibility import limit_check
from search.results.rung_agreement import rung_agreements, saved
from search.session.build_engine import estimator_of
from search.space.load import load_space
from search.study.budget import Budget, expected_seconds, spent_seconds
from search.study.history import CandidateState, final_values
from search.study.limits import Limits
from search.study.settings import Settings
from tests.support.simulated_search import make_space, measure, open_search, run_legs

LORA = LoraSpec(llm=LoraPart(4, 8.0, "qk"))
OBJECTIVE_LIST = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params")]


def candidate(layers, qformer=2, lora=LORA, epochs=2.0):
    return Candidate(Variant((0,), tuple(range(qformer)), tuple(range(layers)), lora), Recipe(epochs=epochs))


def done(number, made, cider=10.0, latency=None, rungs=(1.0,), role="sampled", state="complete", seconds=1.0, parts=None):
    found = []
    for rung in rungs:
        metrics = {"cider": cider * rung}
        if rung == 1.0 and latency is not None:
            metrics |= {"latency_ms": latency, "params": 1.0}
            metrics |= {f"latency_{name}_ms": value for name, value in (parts or {}).items()}
        found.append(Measurement(rung, metrics, {"train": seconds, "first_step": 99.0, "trained": 99.0}))
    return CandidateState(number, role, state, made, {}, tuple(found), order=tuple(range(len(found))))


def parts(llm, qformer):
    """Times of the parts of an architecture that makes eleven new tokens."""
    return {"vision": 5.0, "qformer": 0.5 * qformer, "prefill": 1.0 + llm, "per_token": 0.1 + 0.1 * llm}


def truth(llm, qformer):
    return 7 + 2 * llm + 0.5 * qformer


def test_latency_is_measured_then_fitted_then_scaled():
    estimates = CostEstimator(OBJECTIVE_LIST, lambda c: {"gmacs": float(len(c.variant.llm_layers))})
    value, error = estimates.estimate("latency_ms", candidate(3))
    assert value == 3.0 and math.isnan(error)  # nothing is measured: only proportions are known
    estimates.learn((done(0, candidate(4), latency=20.0),))
    assert estimates.estimate("latency_ms", candidate(4)) == (20.0, 0.0)
    value, error = estimates.estimate("latency_ms", candidate(8))
    assert value == 40.0 and math.isnan(error)
    measured = [(4, 2), (8, 2), (4, 6), (8, 6)]
    assert len(measured) == LEAST
    estimates = CostEstimator(OBJECTIVE_LIST)
    estimates.learn(tuple(done(n, candidate(*d), latency=truth(*d), parts=parts(*d)) for n, d in enumerate(measured)))
    value, error = estimates.estimate("latency_ms", candidate(6, 4))
    assert value == pytest.approx(truth(6, 4)) and error == pytest.approx(0, abs=1e-9)
    totals = CostEstimator(OBJECTIVE_LIST)
    totals.learn(tuple(done(n, candidate(*d), latency=truth(*d)) for n, d in enumerate(measured)))
    assert math.isnan(totals.estimate("latency_ms", candidate(6, 4))[1])  # without parts nothing is fitted: scaled
    # The first measurement of an architecture counts; the same architecture with another LoRA is as fast.
    other = candidate(8, 6, LoraSpec(llm=LoraPart(32, 8.0, "qkvo")))
    assert estimates.estimate("latency_ms", other) == (truth(8, 6), 0.0)
    assert estimates.minimised_costs(candidate(8, 6))[0] == truth(8, 6)


def test_recorded_latencies_count_as_measured():
    estimates = CostEstimator(OBJECTIVE_LIST, recorded=[TimedArchitecture(Architecture(1, 2, 4), 12.5, parts(4, 2), 11)])
    estimates.learn(())
    assert estimates.estimate("latency_ms", candidate(4)) == (12.5, 0.0)


def test_limits_say_what_and_why():
    costs = lambda c: {"params": 1e6 * len(c.variant.llm_layers), "memory_gb": 0.5 * len(c.variant.llm_layers)}  # noqa: E731
    estimates = CostEstimator(OBJECTIVE_LIST, costs)
    refuse = limit_check(Limits(params=4_000_000, latency_ms=30.0, memory_gb=1.4), estimates)
    assert refuse is not None and refuse(candidate(2)) is None
    assert refuse(candidate(5)) == "limit: 5,000,000 parameters, at most 4,000,000 allowed"
    assert refuse(candidate(3)) == "limit: predicted 1.50 GB, at most 1.4 GB allowed"
    estimates.learn((done(0, candidate(2), latency=31.0),))
    assert refuse(candidate(2)) == "limit: predicted 31.00 ms, at most 30 ms allowed"
    assert refuse(candidate(1)) is None  # proportional, so far
    assert limit_check(Limits(), estimates) is None and Limits(params=3).broken({"params": 3.0}) is None
    assert Limits(latency_ms=3.0).broken({"latency_ms": 3.2}) == "limit: measured 3.20 ms, at most 3 ms allowed"
    with pytest.raises(UserError, match="--max-latency-ms must be above 0"):
        Limits(latency_ms=-1)


def test_the_limit_on_memory_knows_what_running_out_of_it_taught(tmp_path):
    settings = Settings("s", "pruning", "tiny", None, 6, "tpe", 0, 1, None, "", str(tmp_path), None, False, max_memory_gb=1)
    settings.folder.mkdir()
    space = load_space("pruning")

    def memory(lora):
        return estimator_of(settings, space, "float32").estimate("memory_gb", candidate(8, 6, lora))[0]

    tuned, plain = memory(LoraSpec(llm=LoraPart(8, 8.0, "qkvo"))), memory(None)
    note_exceeded(settings.folder, predicted=1e9, had=2e9)
    assert 1.5 * tuned < memory(LoraSpec(llm=LoraPart(8, 8.0, "qkvo"))) < 2 * tuned  # the weights are what they are
    assert memory(None) == plain  # nothing is trained


def test_a_candidate_that_is_measured_beyond_a_limit_is_on_no_front(tmp_path):
    search = open_search(tmp_path, limits=Limits(latency_ms=29.0), trials=8)
    run_legs(search)
    for c in search.history:
        assert (c.reason is not None) == (c.rungs[-1].metrics["latency_ms"] > 29.0)
        if c.reason:
            assert c.state == ("complete" if c.reference else "infeasible") and final_values(c, OBJECTIVE_LIST) is None
    assert search.history[1].reason and any(c.state == "infeasible" for c in search.history)
    assert search.used == 8 and search.done  # what was trained counts against the budget
    assert not [t for t in search._journal._study.best_trials if t.values[1] > 29.0]
    search.close()
    assert open_search(tmp_path, limits=Limits(latency_ms=29.0), trials=8).history == search.history


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_leg_starts_only_if_it_fits_and_the_rest_is_stopped(tmp_path):
    clock = Clock()
    search = open_search(tmp_path, make_space(tmp_path), trials=50, budget=Budget(hours=1.0, clock=clock))

    def outcome(leg):
        clock.now += 400 * (leg.stop - leg.start)  # nine whole trials in an hour
        found = measure(leg)
        return Measurement(found.rung, found.metrics, {"train": 400 * (leg.stop - leg.start)})

    run_legs(search, outcome)
    assert search.done and 0.9 * 3600 <= clock.now <= 3600
    assert {c.state for c in search.history} == {"complete"}  # a trial is begun only if it can end
    search.close()
    # Hours of workers are counted over all sessions, by what the legs recorded.
    more = open_search(tmp_path, make_space(tmp_path), trials=50, budget=Budget(worker_hours=1.5, clock=clock))
    run_legs(more, outcome)
    assert 0.9 * 5400 <= spent_seconds(more.history) <= 5400 and more.done
    assert more.budget.left_s(more.history, 2) == pytest.approx((5400 - spent_seconds(more.history)) / 2)


def test_what_rests_when_time_is_up_is_stopped_with_the_reason(tmp_path):
    clock = Clock()
    search = open_search(tmp_path, trials=3, slots=3, budget=Budget(hours=1.0, clock=clock))
    legs = [search.ask() for _ in range(3)]
    for leg in legs:
        search.tell(leg, Measurement(leg.stop, measure(leg).metrics, {"train": 600.0}))
    clock.now = 3590.0
    while (leg := search.ask()) is not None:
        search.tell(leg, measure(leg))
    assert search.done
    assert [c.state for c in search.history if not c.reference] == ["stopped"]
    assert search.history[2].reason == "budget: its next leg would not end in time"
    assert search.history[1].state == "complete"  # a reference point always runs to the end


def test_expected_seconds_are_of_legs_alike():
    history = (done(0, candidate(2), rungs=(0.25, 1.0), seconds=10.0), done(1, candidate(3), rungs=(0.25,), seconds=20.0))
    assert expected_seconds(history, 0.0, 0.25) == 15.0
    assert expected_seconds(history, 0.25, 1.0) == 10.0
    assert expected_seconds(history, 0.0, 0.5) == pytest.approx(0.5 * 40.0)  # the median rate of all legs
    assert expected_seconds((), 0.0, 1.0) == 0.0 and spent_seconds(history) == 40.0


def test_agreement_of_rungs_and_what_stopping_saved():
    curve = lambda n, low, high: CandidateState(  # noqa: E731
        n, "sampled", "complete", candidate(2), {},
        (Measurement(0.5, {"cider": low}, {}), Measurement(1.0, {"cider": high}, {})),
    )  # fmt: skip
    history = tuple(curve(n, low, high) for n, (low, high) in enumerate([(1, 10), (2, 20), (3, 40), (4, 30), (5, 50)]))
    (found,) = rung_agreements(history)
    assert (found.rung, len(found.points), found.kendall_tau) == (0.5, 5, pytest.approx(8 / 10))
    assert found.points[2] == (3, 40, 2) and rung_agreements(history[:4])[0].kendall_tau is None
    reference = replace(history[0], role="full_depth")  # never stopped, so it says nothing of stopping
    assert len(rung_agreements((reference, *history[1:]))[0].points) == 4
    assert saved(history) is None and saved(()) is None
    stopped = done(5, candidate(2), rungs=(0.5,), state="stopped")
    found = saved((*history, stopped))
    assert found and (found.stopped, found.trainings, found.share) == (1, 0.5, pytest.approx(0.5 / 6))
