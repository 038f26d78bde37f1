"""Scores of baselines: JSON, an earlier version's floor and ceiling, and sentences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.baseline import (
    BaselineScore,
    baselines_from_json,
    baselines_to_json,
    in_one_line,
    notes_on,
    strongest_blind,
    without_baselines,
)

SCORES = st.builds(BaselineScore, st.floats(0, 1000), st.none() | st.floats(0, 1))


@given(st.dictionaries(st.sampled_from(["blind_class", "blind", "nearest_image", "people"]), SCORES))
def test_json_gives_the_same_back(baselines: dict[str, BaselineScore]) -> None:
    stored = {"baselines": baselines_to_json(baselines), "other": 1}
    assert baselines_from_json(stored) == baselines and without_baselines(stored) == {"other": 1}


def test_an_earlier_floor_and_ceiling_bear_names_that_say_what_they_were() -> None:
    stored = {"floor": {"class_prior": 212.4, "prior": 35.5}, "ceiling": {"human_agreement": 143.0}, "study": "s"}
    assert baselines_from_json(stored) == {
        "blind_class": BaselineScore(212.4, None),
        "blind": BaselineScore(35.5, 1.0),
        "people_without_copies": BaselineScore(143.0, None),
    }
    assert without_baselines(stored) == {"study": "s"}
    assert notes_on(baselines_from_json(stored)) == []  # an earlier version computed no nearest image
    assert baselines_from_json({"floor": {}, "ceiling": {}}) == {}


def test_the_strongest_blind_baseline() -> None:
    assert strongest_blind({}) is None and strongest_blind({"people": BaselineScore(9, 1)}) is None
    assert strongest_blind({"blind": BaselineScore(3, 1), "people": BaselineScore(9, 1)}) == "blind"
    assert strongest_blind({"blind": BaselineScore(3, 1), "blind_class": BaselineScore(2, 1)}) == "blind"
    assert strongest_blind({"blind": BaselineScore(3, 1), "blind_class": BaselineScore(4, 1)}) == "blind_class"


def test_one_line_has_coverage_where_it_is_not_whole() -> None:
    assert in_one_line({}) == "none"
    found = {"blind_class": BaselineScore(203.94, 0.912), "blind": BaselineScore(36.4, 1.0), "people": BaselineScore(9, None)}
    assert in_one_line(found) == "blind_class 203.9 (91% of the images), blind 36.4, people 9.0"
