"""run_to_end: a pure function of the history."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement
from rsopt.core.variant import Variant
from search.optimizer.scheduler import Promote, StartCandidate, Wait, run_to_end
from search.study.history import CandidateState

CANDIDATE = Candidate(Variant((0,), (0, 1), (0,)))
STATES = ["running", "resting", "complete", "stopped", "infeasible", "failed"]


def history(*states):
    rung = (Measurement(0.5, {"cider": 1.0}, {}),)
    return tuple(CandidateState(n, "sampled", s, CANDIDATE, rungs=rung) for n, s in enumerate(states))


def test_the_lowest_resting_one_first():
    assert run_to_end(history("complete", "running", "resting", "resting"), True, 0) == Promote(2)
    assert run_to_end(history("resting"), False, 0) == Promote(0)


def test_else_a_new_one_while_there_is_room():
    assert run_to_end((), True, 0) == StartCandidate()
    assert run_to_end(history("running", "failed"), True, 0) == StartCandidate()
    assert run_to_end(history("running", "complete"), False, 0) == Wait()


@given(st.lists(st.sampled_from(STATES)), st.booleans(), st.integers(), st.integers())
def test_it_depends_on_nothing_else(states, room, seed, other):
    decision = run_to_end(history(*states), room, seed)
    assert decision == run_to_end(history(*states), room, other)
    if isinstance(decision, Promote):
        assert decision.number == states.index("resting")
    else:
        assert "resting" not in states and decision == (StartCandidate() if room else Wait())


def test_what_a_candidate_state_says_of_itself():
    resting, complete = history("resting", "complete")
    assert resting.reached == 0.5 and not resting.finished and resting.final is None
    assert complete.final is complete.rungs[-1] and complete.finished and not complete.in_flight
    assert replace(resting, state="running").in_flight and not resting.reference
