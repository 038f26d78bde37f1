"""The closed form against Monte Carlo and against the hypervolume itself, over random fronts, in two and three objectives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from search.optimizer.ehvi import expected_improvement
from search.optimizer.pareto import hypervolume

DRAWS = 200


@st.composite
def cases(draw):
    """A front (dominated points, ties and points outside the reference included), candidates and what is uncertain."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    m = draw(st.integers(2, 3))
    uncertain = draw(st.integers(0, m - 1))
    members = draw(st.integers(0, 12))
    front = rng.uniform(-1.0, 1.2, (members, m))
    if draw(st.booleans()):
        front = front.round(1)  # ties
    known = rng.uniform(-1.1, 1.2, (4, m - 1))
    if draw(st.booleans()):
        known = known.round(1)
    sd = rng.uniform(0.0, 1.0, 4) * draw(st.sampled_from([0.0, 0.1, 1.0]))
    return front, np.ones(m), uncertain, known, rng.uniform(-1.5, 1.5, 4), sd


def gain(front, reference, uncertain, known, value):
    """What one point adds to the hypervolume."""
    point = np.insert(known, uncertain, value)
    return hypervolume(np.vstack([front, point]), reference) - (hypervolume(front, reference) if len(front) else 0.0)


@settings(max_examples=1000, deadline=None)
@given(cases())
def test_without_uncertainty_it_is_the_gain_itself(case):
    front, reference, uncertain, known, mean, _ = case
    found = expected_improvement(front, reference, uncertain, known, mean, np.zeros(len(mean)))
    wanted = [gain(front, reference, uncertain, k, v) for k, v in zip(known, mean, strict=True)]
    assert found == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_it_is_the_mean_over_draws(case):
    front, reference, uncertain, known, mean, sd = case
    found = expected_improvement(front, reference, uncertain, known, mean, sd)
    # Equal shares of the distribution in place of random draws: the integrand is piecewise linear and convex.
    z = norm.ppf((np.arange(DRAWS) + 0.5) / DRAWS)
    for i in range(2):
        draws = [gain(front, reference, uncertain, known[i], mean[i] + sd[i] * value) for value in z]
        assert found[i] == pytest.approx(np.mean(draws), abs=6e-3 * max(sd[i], 1e-6) * 5 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_monte_carlo_agrees_within_its_own_error(case, seed):
    front, reference, uncertain, known, mean, sd = case
    found = expected_improvement(front, reference, uncertain, known, mean, sd)
    draws = np.random.default_rng(seed).normal(mean[0], sd[0], 500)
    gains = np.array([gain(front, reference, uncertain, known[0], value) for value in draws])
    assert abs(found[0] - gains.mean()) <= 6 * gains.std() / np.sqrt(len(draws)) + 0.05 * sd[0] + 1e-9


@settings(max_examples=1000, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_what_must_not_matter(case, random):
    front, reference, uncertain, known, mean, sd = case
    found = expected_improvement(front, reference, uncertain, known, mean, sd)
    order = list(range(len(front)))
    random.shuffle(order)
    shuffled = expected_improvement(front[order], reference, uncertain, known, mean, sd)
    assert shuffled == pytest.approx(found, abs=1e-12)
    if len(front):  # a dominated point and a point outside change nothing
        worse, outside = front[0] + 0.01, np.array([*reference[:-1] - 0.5, 9.0])
        more = expected_improvement([*front, worse, outside], reference, uncertain, known, mean, sd)
        assert more == pytest.approx(found, abs=1e-12)
    assert (found >= 0).all()
    cheaper = expected_improvement(front, reference, uncertain, known - 0.1, mean, sd)
    better = expected_improvement(front, reference, uncertain, known, mean - 0.1, sd)
    wider = expected_improvement(front, reference, uncertain, known, mean, sd + 0.1)  # gain is convex in the value
    assert (cheaper >= found - 1e-12).all() and (better >= found - 1e-12).all() and (wider >= found - 1e-12).all()


def test_costs_beyond_the_reference_gain_nothing():
    front = np.array([[0.1, 0.2, 0.9], [0.1, 0.9, 0.2]])
    found = expected_improvement(front, np.ones(3), 0, [[1.0, 0.5], [0.5, 1.5], [2.0, 2.0]], [0, 0, 0], [1, 1, 1])
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="all but one known"):
        expected_improvement([], [1.0, 1.0, 1.0], 0, [[1.0]], [0.0], [1.0])
