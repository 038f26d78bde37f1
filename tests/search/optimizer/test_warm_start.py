"""Warm start: what another study found is told where the space allows, its front is tried first."""

from dataclasses import replace

import pytest

from rsopt.core.baseline import BaselineScore
from rsopt.errors import UserError
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.optimizer.warm_start import OtherStudy, WarmStart, warm_start
from search.session.warm_start_source import other_study
from search.tracking.mlflow_writer import Tracker
from search.tracking.study_runs import study_view
from tests.support.example_study import times_of
from tests.support.simulated_search import METADATA, PARAMETERS, SHAPE, make_space, open_search, run_legs, settings_of


@pytest.fixture
def other(tmp_path):
    search = open_search(tmp_path / "other", trials=8)
    run_legs(search)
    search.close()
    return OtherStudy(settings_of("other"), METADATA, search.history, None)


def test_all_is_told_and_the_front_goes_first(tmp_path, other):
    space = make_space(tmp_path, starts="[]")
    bound = space.bind(SHAPE)
    warm = warm_start(bound, settings_of("new"), METADATA, other)
    assert WarmStart.from_json(warm.to_json()) == warm and not warm.notes
    assert len(warm.observations) == 9  # eight and the full depth
    assert all(len(t.rungs) == 2 and t.final for t in warm.observations)
    assert warm.starts and all(bound.contains(params) for params in warm.starts)
    for sampler in ("known_cost", "tpe"):
        started = replace(bound, starts=warm.starts)
        optimizer = make_optimizer(sampler, None, started, 0, CostEstimator(space.objectives), prior=warm.observations)
        settings = SearchSettings(space.objectives, space.rungs, 0, len(warm.starts) + 1, 1)
        search = Search(tmp_path / sampler, started, settings, optimizer)
        run_legs(search)
        tried = [c.params for c in search.history if c.role == "start"]
        assert len(tried) >= len(warm.starts) - 1  # one of them may be the full-depth reference
        assert all(params in warm.starts for params in tried)


def test_a_study_in_mlflow_tells_its_ends_and_its_front(tmp_path, other):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    asked = settings_of("new", tracking_uri=uri, from_study="mlflow:rsopt-s")
    with pytest.raises(UserError, match="no experiment 'rsopt-s' at sqlite"):
        other_study(asked)
    view = study_view(
        replace(other.settings, tracking_uri=uri), other.metadata, other.history, times_of(other.history), "complete", 1
    )
    Tracker(uri, "rsopt-s", other.settings.name).write(replace(view, files={**view.files, "rankings.json": '{"a": 1}'}))
    found = other_study(asked)
    assert found and (found.settings.name, found.settings.base, found.rankings) == ("other", "tiny", {"a": 1})
    bound = make_space(tmp_path, starts="[]").bind(SHAPE)
    there = warm_start(bound, asked, METADATA, found)
    here = warm_start(bound, asked, METADATA, other)
    assert there.starts == here.starts and not there.notes
    assert [t.final for t in there.observations] == [t.final for t in here.observations]
    assert [t.rungs for t in there.observations] == [t.rungs[-1:] for t in here.observations]


def test_what_lies_outside_the_space_is_left_out_and_said(tmp_path, other):
    narrow = make_space(tmp_path, PARAMETERS.replace("[0.5, 1.0]", "[0.5, 0.75]"), "[]").bind(SHAPE)
    warm = warm_start(narrow, settings_of("new"), METADATA, other)
    assert 0 < len(warm.observations) < 9 and "lie outside this space" in warm.notes[0]
    empty = make_space(tmp_path / "e", "{llm_rank: {int: [4, 8]}, lora: llm}", "[]").bind(SHAPE)
    with pytest.raises(UserError, match="can express none"):
        warm_start(empty, settings_of("new"), METADATA, other)


def test_another_base_is_refused_and_other_data_is_stated(tmp_path, other):
    bound = make_space(tmp_path, starts="[]").bind(SHAPE)
    with pytest.raises(UserError, match="its base is tiny, not opt"):
        warm_start(bound, settings_of("new", base="opt"), METADATA, other)
    warm = warm_start(bound, settings_of("new"), replace(METADATA, baselines={"blind": BaselineScore(9.0, 1.0)}), other)
    assert warm.observations == () and warm.starts and "its scores are not used" in warm.notes[0]
