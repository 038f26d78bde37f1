"""Baselines in a search: the same study with another kind of candidates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rsopt.core.candidate import Candidate
from rsopt.core.variant import BaseShape, Variant
from rsopt.errors import UserError
from search.optimizer.cost_estimator import CostEstimator
from search.space.load import load_space

SHAPE = BaseShape(4, 6, 8, 2, 128)


def test_the_space_lists_each_baseline_once() -> None:
    space = load_space("baselines")
    bound = space.bind(SHAPE)
    candidates = [bound.candidate(start) for start in bound.starts]
    assert [c.label for c in candidates] == ["PureT", "BITA", "PureT cross-entropy"]
    assert bound.size == space.trials == 3
    assert bound.full_depth()[1].baseline is None and bound.zero_shot().baseline is None
    assert len({c.key for c in (*candidates, bound.zero_shot(), bound.full_depth()[1])}) == 5


def test_a_candidate_keeps_its_kind_and_a_variant_its_old_form() -> None:
    variant = Candidate(Variant.full(SHAPE))
    assert set(variant.to_json()) == {"variant", "recipe"}  # older journals have no baselines
    assert Candidate.from_json(variant.to_json()) == variant
    baseline = Candidate(Variant.full(SHAPE), baseline="bita")
    assert Candidate.from_json(baseline.to_json()) == baseline and baseline.key != variant.key


def test_a_baselines_costs_are_unknown_before_it_ran() -> None:
    space = load_space("baselines")
    figures = {"params": 7.0, "gmacs": 2.0}
    estimates = CostEstimator(space.objectives, lambda c: {} if c.baseline else figures)
    estimates.learn(())
    value, error = estimates.estimate("params", Candidate(Variant.full(SHAPE), baseline="puret"))
    assert value == 0.0 and math.isnan(error)  # no limit refuses it
    assert estimates.estimate("params", Candidate(Variant.full(SHAPE))) == (7.0, 0.0)


def test_an_unknown_baseline_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nobjectives: [cider, params]\nparameters:\n  baseline: {choice: [puret, git]}\n")
    with pytest.raises(UserError, match=r"s\.yaml.*git.*allowed: none, puret_xe, puret, bita"):
        load_space(file)
