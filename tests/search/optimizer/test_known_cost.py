"""The default sampler: a pure function of history and seed that keeps limits, never repeats, and finds what a formula hides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsopt.core.objectives import OBJECTIVES, Fault, Measurement
from rsopt.errors import UserError
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.optimizer.known_cost import KnownCost
from search.optimizer.pareto import hypervolume
from search.optimizer.scheduler import Promote, StartCandidate, Wait
from search.optimizer.surrogate import GroupedMatern, RungNoise, Scale, Surrogate
from search.space.encoding import Encoder
from search.space.load import load_space
from search.study.limits import Limits
from tests.support.known_cost_search import RANKINGS, SHAPE, costs, measure, open_search, run_legs

SPACES = ("pruning", "joint")


def volume(search, trained):
    """Hypervolume of what was complete after so many full trials of training."""
    spent, numbers = 0.0, set()
    for leg in trained[1]:
        spent += leg.stop - leg.start
        if spent > trained[0]:
            break
        if leg.last:
            numbers.add(leg.number)
    points = []
    for c in search.history:
        if c.number in numbers and c.final:
            points.append([-c.final.metrics["cider"], c.final.metrics["latency_ms"], c.final.metrics["params"]])
    return hypervolume(points, [0.0, 27.5, 3.5e6])


def test_it_learns_where_random_search_does_not(tmp_path):
    found = {}
    for sampler in ("known_cost", "random"):
        schedule = "promote" if sampler == "known_cost" else "end"
        search = open_search(tmp_path / sampler, schedule, "joint", sampler=sampler, trials=40)
        found[sampler] = volume(search, (15.0, run_legs(search)))
    assert found["known_cost"] > 1.05 * found["random"]


@pytest.mark.parametrize("schedule", ["promote", "halving", "end"])
def test_reopening_after_every_few_legs_changes_nothing(tmp_path, schedule):
    whole = open_search(tmp_path / "whole", schedule, trials=22)
    run_legs(whole)
    while True:
        parts = open_search(tmp_path / "parts", schedule, trials=22)
        legs = run_legs(parts, legs=4)
        parts.close()
        if not legs:
            break
    assert parts.history == whole.history
    assert len({c.candidate.key for c in whole.history}) == len(whole.history)


def test_what_is_not_promoted_ends_stopped_and_references_run_to_the_end(tmp_path):
    search = open_search(tmp_path, trials=30)
    run_legs(search)
    states = [c.state for c in search.history]
    assert search.done and "stopped" in states and states.count("complete") > 5
    assert [c.state for c in search.history if c.reference] == ["complete", "complete"]
    assert all(c.final is None for c in search.history if c.state == "stopped")


def test_limits_are_kept_without_a_single_infeasible_draw_of_its_own(tmp_path):
    search = open_search(tmp_path, limits=Limits(params=2_200_000))
    run_legs(search)
    refused = [c for c in search.history if c.state == "infeasible"]
    assert refused and {c.role for c in refused} == {"start"} and not any(c.rungs for c in refused)
    assert all(costs(c.candidate)["params"] <= 2.2e6 for c in search.history if c.role == "sampled")


def test_limits_that_exclude_a_large_space_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr("search.engine.search.INFEASIBLE_LIMIT", 20)
    search = open_search(tmp_path, name="joint", limits=Limits(params=1))
    run_legs(search)
    assert search.done and search.exhausted and "the last 20 candidates broke a limit" in search.exhausted


def test_failures_and_empty_scores_do_not_stop_it(tmp_path):
    def outcome(leg):
        if leg.number % 3 == 0:
            return Fault(leg.stop, "nan", "loss")
        found = measure(leg)
        if leg.number % 3 == 1 and not leg.last:
            return Measurement(leg.stop, {}, {})
        return found

    search = open_search(tmp_path, trials=20)
    run_legs(search, outcome=outcome)
    assert search.done
    hopeless = open_search(tmp_path / "hopeless", trials=15)
    run_legs(hopeless, outcome=lambda leg: Fault(leg.stop, "nan", "loss"))
    assert hopeless.done and hopeless.stopped == "the first 3 candidates failed alike: nan: loss"


def test_workers_at_once_do_not_all_choose_alike(tmp_path):
    search = open_search(tmp_path, slots=6, trials=60)
    run_legs(search, legs=0)
    pending = [search.ask() for _ in range(6)]
    for _ in range(50):  # new candidates are still begun then
        leg = pending.pop(0)
        search.tell(leg, measure(leg))
        while len(pending) < 6 and (found := search.ask()) is not None:
            pending.append(found)
    assert len({(leg.number, leg.stop) for leg in pending}) == len(pending)
    fresh = [leg for leg in pending if leg.start == 0]
    assert len({leg.candidate.variant.architecture() for leg in fresh}) > len(fresh) // 3


def test_a_space_without_cider_is_refused():
    space = load_space("pruning")
    objectives = [OBJECTIVES[name] for name in ("latency_ms", "params")]
    with pytest.raises(UserError, match="known_cost needs cider"):
        KnownCost(space.bind(SHAPE, RANKINGS), 0, CostEstimator(objectives, costs))
    with pytest.raises(UserError, match="promote is known_cost's own"):
        make_optimizer("tpe", "promote", space.bind(SHAPE, RANKINGS), 0, CostEstimator(objectives, costs))


def test_the_empty_history_and_the_spent_one():
    space = load_space("pruning")
    known_cost = KnownCost(space.bind(SHAPE, RANKINGS), 0, CostEstimator(space.objectives, costs))
    assert known_cost.decide((), True) == StartCandidate() and known_cost.decide((), False) == Wait()
    assert known_cost.propose(()) is not None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SPACES), st.integers(0, 2**32 - 1))
def test_random_params_and_neighbours_are_points_of_the_space(name, seed):
    bound = load_space(name).bind(SHAPE, RANKINGS)
    encoder, rng = Encoder(bound), np.random.default_rng(seed)
    params = encoder.random(rng)
    for _ in range(3):
        bound.candidate(params)
        assert list(params) == [n for n in bound.distributions if bound.active(n, params)]
        for key, value in params.items():
            over = bound.distributions[key]
            assert over._contains(over.to_internal_repr(value))
        row = encoder.encode(params)
        assert len(row) == len(encoder.groups) and all(0 <= x <= 1 for x in row)
        params = encoder.neighbour(params, rng)


def test_the_kernels_gradient_is_its_derivative():
    rng = np.random.default_rng(0)
    rows, groups = rng.random((12, 5)), (0, 0, 1, 2, 2)
    kernel = GroupedMatern((0.7, 1.3, 2.0), groups)
    value, gradient = kernel(rows, eval_gradient=True)
    for g in range(3):
        theta = kernel.theta.copy()
        theta[g] += 1e-6
        assert np.allclose((kernel.clone_with_theta(theta)(rows) - value) / 1e-6, gradient[:, :, g], atol=1e-5)
    assert np.allclose(np.diag(value), kernel.diag(rows)) and kernel.is_stationary()
    rows[:5, -1] = 1.0
    noise = RungNoise((0.3, 0.02))
    value, gradient = noise(rows, eval_gradient=True)
    for g in range(2):
        theta = noise.theta.copy()
        theta[g] += 1e-6
        assert np.allclose((noise.clone_with_theta(theta)(rows) - value) / 1e-6, gradient[:, :, g], atol=1e-5)
    assert np.allclose(np.diag(value), [0.02] * 5 + [0.3] * 7) and not noise(rows, rows).any()


def test_curves_are_brought_to_the_end_by_how_they_grow():
    rows = np.array([[0, 0.25], [0, 0.5], [0, 1.0], [1, 0.25], [1, 0.5], [2, 0.25], [3, 0.25]])
    values = np.array([10.0, 30.0, 60.0, 20.0, 60.0, 30.0, 0.0])
    scale = Scale.of(rows, values)
    assert scale.growth == {1.0: 1.0, 0.5: 2.0, 0.25: 6.0}  # 60 / 30, and twice (30 + 60) / (10 + 20)
    assert scale.center == pytest.approx((60 + 120 + 180 + 0) / 4)
    assert scale.standard(rows, values) * scale.spread + scale.center == pytest.approx([60, 60, 60, 120, 120, 180, 0])
    alone = Scale.of(rows[5:], values[5:])  # nothing says how curves grow
    assert alone.growth == {1.0: 1.0, 0.25: 1.0} and Scale.of(rows[:1], values[:1]).spread == 1.0


def test_the_model_is_repeatable_and_knows_more_from_lower_rungs():
    rng = np.random.default_rng(1)
    x = rng.random((30, 2))
    truth = 50 * x[:, 0] - 20 * (x[:, 1] - 0.4) ** 2
    low, high = np.c_[x, np.full(30, 1 / 3)], np.c_[x, np.ones(30)]
    rows, values = np.vstack([low, high[:8]]), np.append(0.6 * truth, truth[:8])
    errors = []
    for some in (slice(0, 38), slice(30, 38)):  # with lower rungs, and the ends alone
        models = [Surrogate((0, 1)) for _ in range(2)]
        for model in models:
            model.tune(rows[some], values[some])
        means = [model.fit(rows[some], values[some]).predict(x[8:])[0] for model in models]
        assert (means[0] == means[1]).all()
        errors.append(np.sqrt(np.mean((means[0] - truth[8:]) ** 2)))
    assert errors[0] < errors[1]


def test_promote_follows_the_known_cost_policy(tmp_path):
    search = open_search(tmp_path, trials=30)
    legs = run_legs(search)
    later = [leg for leg in legs if leg.start > 0 and leg.number > 1]
    assert later and len(later) < sum(leg.start == 0 for leg in legs)
    assert isinstance(search._optimizer.scheduler(search.history, True, 3), StartCandidate | Promote)


def test_a_row_that_is_left_out_is_predicted_as_if_it_had_never_been_seen():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.random((12, 2)), np.where(np.arange(12) < 4, 0.5, 1.0)]
    values = 100 + 50 * rows[:, 0] + rng.normal(0, 5, 12)
    model = Surrogate([0, 1])
    model.tune(rows, values)
    posterior = model.fit(rows, values)
    for left_out in range(4, 12):
        others = np.arange(12) != left_out
        mean, _ = model.fit(rows[others], values[others], posterior.scale).predict(rows[[left_out], :-1])
        assert posterior.left_out()[left_out] == pytest.approx(mean[0])
