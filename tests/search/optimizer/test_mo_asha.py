"""Halving against brute force: ranks, dominators, equals, order of arrival, and more budget never stopping anybody."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import OBJECTIVES, Measurement
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.mo_asha import MoAsha, contributions, promoted, ranks
from search.optimizer.pareto import hypervolume, non_dominated
from search.optimizer.scheduler import Promote, StartCandidate, Wait
from search.study.history import CandidateState

MANY = settings(max_examples=500, deadline=None)


@st.composite
def point_sets(draw, most=14):
    m = draw(st.integers(2, 3))
    rows = draw(st.lists(st.lists(st.integers(0, 5), min_size=m, max_size=m), min_size=1, max_size=most))
    return np.array(rows, dtype=float)


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


@MANY
@given(point_sets())
def test_ranks_are_peeled_fronts(points):
    wanted, left, level = np.full(len(points), -1), list(range(len(points))), 0
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        wanted[front] = level
        left, level = [i for i in left if i not in front], level + 1
    assert ranks(points).tolist() == wanted.tolist()


@MANY
@given(point_sets(most=8))
def test_contributions_are_what_the_volume_lacks_without_one(points):
    front = points[non_dominated(points)]
    low, span = front.min(axis=0), np.ptp(front, axis=0)
    scaled = np.divide(front - low, span, out=np.zeros_like(front), where=span > 0)
    corner = np.full(front.shape[1], 1.1)
    whole = hypervolume(scaled, corner)
    wanted = [whole - hypervolume(np.delete(scaled, i, axis=0), corner) for i in range(len(front))]
    assert np.allclose(contributions(front), wanted, atol=1e-9)


@MANY
@given(point_sets(), st.floats(1.5, 5), st.data())
def test_a_strict_dominator_is_never_stopped(points, eta, data):
    gone = data.draw(st.lists(st.booleans(), min_size=len(points), max_size=len(points)))
    flags = promoted(points, eta, gone)
    for i, point in enumerate(points):
        if all(dominates(point, other) for j, other in enumerate(points) if j != i):
            assert flags[i]  # dominates all the others
        if any(dominates(point, points[j]) and (gone[j] or flags[j]) for j in range(len(points))):
            assert flags[i]  # dominates one that went on or may go on


@MANY
@given(point_sets(), st.floats(1.5, 5), st.randoms(use_true_random=False))
def test_order_of_arrival_and_equals(points, eta, random):
    flags = promoted(points, eta)
    order = list(range(len(points)))
    random.shuffle(order)
    assert promoted(points[order], eta).tolist() == flags[order].tolist()
    for i in range(len(points)):
        for j in range(i):
            if (points[i] == points[j]).all():
                assert flags[i] == flags[j]


@MANY
@given(point_sets(), st.floats(1.2, 5), st.floats(1.2, 5))
def test_keeping_more_stops_nobody_and_somebody_always_goes_on(points, a, b):
    few, many = promoted(points, max(a, b)), promoted(points, min(a, b))
    assert few.any() and not (few & ~many).any()
    assert not promoted(np.zeros((0, 3)), 2.0).size


def state(number, cider, layers, reached="resting", role="sampled"):
    lora = LoraSpec(llm=LoraPart(4, 8.0, "qk"))
    candidate = Candidate(Variant((0,), (0, 1), tuple(range(layers)), lora))
    rungs = (Measurement(1 / 3, {"cider": cider}, {}),)
    return CandidateState(number, role, reached, candidate, {}, rungs, order=(number,))


def halving():
    objectives = [OBJECTIVES[name] for name in ("cider", "params")]
    costs = CostEstimator(objectives, lambda c: {"params": float(len(c.variant.llm_layers))})
    return MoAsha(costs, eta=3.0)


def test_the_policy_lets_the_best_third_go_on_and_keeps_reference_points():
    policy = halving()
    resting = tuple(state(n, cider, 4) for n, cider in enumerate([10.0, 30.0, 20.0]))
    assert policy(resting, True, 0) == Promote(1)
    gone = (*resting[:1], replace(resting[1], state="running"), resting[2])
    assert policy(gone, True, 0) == StartCandidate() and policy(gone, False, 0) == Wait()
    reference = state(3, 1.0, 4, role="full_depth")
    assert policy((*gone, reference), True, 0) == Promote(3)
    # A newcomer that dominates the one that went on follows it, though a third of four is two at most.
    better = state(3, 31.0, 4)
    assert policy((*gone, better), True, 0) == Promote(3)


def test_a_candidate_without_a_score_at_the_rung_goes_last():
    policy = halving()
    silent = replace(state(0, 0.0, 4), rungs=(Measurement(1 / 3, {}, {}),))
    assert policy((silent, state(1, 5.0, 4)), True, 0) == Promote(1)
