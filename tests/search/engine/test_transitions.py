"""A candidate's next state follows from its state and what happened to its leg."""

from dataclasses import replace

import pytest

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import OBJECTIVES, Fault, Measurement
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from search.engine.transitions import after_leg, after_loss, breaks_limit, completed
from search.study.history import CandidateState

OBJECTIVE_LIST = [OBJECTIVES["cider"], OBJECTIVES["params"]]
TUNED = Candidate(Variant((0,), (0, 1), (0,), LoraSpec(llm=LoraPart(4, 8.0, "qk"))))
RUNNING = CandidateState(2, "sampled", "running", TUNED)
LEG, LAST = Leg(2, TUNED, 0.0, 0.5, 7), Leg(2, TUNED, 0.5, 1.0, 7)


def test_a_measurement_adds_a_rung_without_what_is_not_finite() -> None:
    outcome = Measurement(0.5, {"cider": 3.0, "meteor": float("nan")}, {"train": 1.0})
    state = after_leg(RUNNING, LEG, outcome, OBJECTIVE_LIST, 5)
    assert (state.state, state.reached, state.order, state.reason) == ("resting", 0.5, (5,), None)
    assert state.rungs[0].metrics == {"cider": 3.0} and RUNNING.rungs == ()


@pytest.mark.parametrize(
    ("leg", "outcome", "state", "reason"),
    [
        (LEG, Fault(0.5, "nan", "loss"), "failed", "nan: loss"),
        (LEG, Fault(0.5, "memory", "one image does not fit"), "infeasible", "memory: one image does not fit"),
        (LEG, Measurement(0.5, {"cider": float("inf")}, {}), "failed", "nan: cider is inf at rung 0.5"),
        (LAST, Measurement(1.0, {"cider": 3.0}, {}), "failed", "missing: no params at rung 1"),
    ],
)
def test_failures_add_no_rung(leg: Leg, outcome: Measurement | Fault, state: str, reason: str) -> None:
    after = after_leg(RUNNING, leg, outcome, OBJECTIVE_LIST, 0)
    assert (after.state, after.reason, after.rungs) == (state, reason, ())


def test_the_untuned_base_may_lack_an_objective() -> None:
    base = replace(RUNNING, role="zero_shot")
    assert after_leg(base, LAST, Measurement(1.0, {"cider": 3.0}, {}), OBJECTIVE_LIST, 0).state == "resting"


def test_a_broken_limit_makes_candidates_infeasible_and_keeps_references() -> None:
    assert completed(RUNNING, None).state == "complete"
    assert completed(RUNNING, "limit: too slow").state == "infeasible"
    reference = completed(replace(RUNNING, role="full_depth"), "limit: too slow")
    assert (reference.state, reference.reason) == ("complete", "limit: too slow")


def test_the_third_loss_of_one_leg_fails_the_candidate_unless_the_session_stops() -> None:
    twice = after_loss(after_loss(RUNNING, LEG, True), LEG, True)
    assert (twice.state, twice.lost) == ("running", (0.5, 0.5))
    assert after_loss(twice, LAST, True).state == "running"  # another leg
    assert after_loss(twice, LEG, False).state == "running"
    assert after_loss(twice, LEG, True).reason == "infrastructure: lost 3 times between 0 and 0.5 of its training"


def test_running_out_of_memory_breaks_no_limit_of_the_user() -> None:
    memory = after_leg(RUNNING, LEG, Fault(0.5, "memory", "x"), OBJECTIVE_LIST, 0)
    assert not breaks_limit(memory) and not breaks_limit(RUNNING)
    assert breaks_limit(replace(RUNNING, state="infeasible", reason="limit: 3 parameters, at most 2 allowed"))
