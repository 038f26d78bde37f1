"""When a study stops because everything fails, and when one candidate fails alone."""

from __future__ import annotations

from pathlib import Path

from rsopt.core.objectives import Fault
from search.engine.failure_monitor import FailureMonitor
from tests.support.simulated_search import measure, open_search, run_legs

NAN = "nan: training loss is nan at step {} of 40"


def test_the_third_refusal_in_a_row_stops_and_a_measurement_in_between_does_not() -> None:
    monitor = FailureMonitor(proven=True)
    for _ in range(5):
        monitor.lost_leg("no room")
        monitor.lost_leg("no room")
        monitor.measured(trained=True)
    assert monitor.stop_reason is None
    for _ in range(3):
        monitor.lost_leg("no room")
    assert monitor.stop_reason == "3 legs in a row could not run: no room"


def test_the_first_candidates_that_fail_alike_stop_it_others_do_not() -> None:
    alike, different, proven = FailureMonitor(False), FailureMonitor(False), FailureMonitor(False)
    alike.measured(trained=False)  # the untuned base proves nothing
    proven.measured(trained=True)
    for step in (0, 20, 40):
        for monitor in (alike, proven):
            monitor.failed(NAN.format(step))
        different.failed(f"{'garbage' if step else 'nan'}: something")
    assert alike.stop_reason == f"the first 3 candidates failed alike: {NAN.format(40)}"
    assert different.stop_reason is None and proven.stop_reason is None


def test_two_candidates_given_up_in_a_row_stop_it() -> None:
    monitor = FailureMonitor(True)
    monitor.gave_up()
    monitor.measured(True)
    monitor.gave_up()
    assert monitor.stop_reason is None
    monitor.gave_up()
    assert monitor.stop_reason and "2 candidates in a row" in monitor.stop_reason


def test_a_machine_that_refuses_burns_no_candidate(tmp_path: Path) -> None:
    search = open_search(tmp_path, slots=2)
    for _ in range(3):
        leg = search.ask()
        assert leg is not None
        search.report_lost(leg, "base 'b' cannot be loaded")
    assert search.stopped and search.done and search.ask() is None
    assert not any(state.finished for state in search.history)
    search.close()
    again = open_search(tmp_path)
    run_legs(again)
    assert again.stopped is None and {s.state for s in again.history} == {"complete"}


def test_a_systematic_fault_stops_the_study_after_three_candidates(tmp_path: Path) -> None:
    search = open_search(tmp_path)

    def broken(leg):
        return measure(leg) if leg.number == 0 else Fault(leg.stop, "exception", f"KeyError: {leg.number}")

    legs = run_legs(search, broken)
    assert [leg.number for leg in legs] == [0, 1, 2, 3] and search.done
    assert search.stopped == "the first 3 candidates failed alike: exception: KeyError: 3"


def test_memory_makes_a_candidate_infeasible_and_is_no_systematic_fault(tmp_path: Path) -> None:
    search = open_search(tmp_path)

    def small(leg):
        deep = len(leg.candidate.variant.llm_layers) > 6 and leg.number
        return Fault(leg.stop, "memory", "one image does not fit into 1.00 GB") if deep else measure(leg)

    run_legs(search, small)
    found = {state.state for state in search.history}
    assert search.stopped is None and found == {"complete", "infeasible"}
    assert search.history[1].reason == "memory: one image does not fit into 1.00 GB"
