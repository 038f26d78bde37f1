"""The study: one writer, no leg twice, nothing lost, and the same search whatever happens to its driver."""

import contextlib
import json
import math
import os
import signal
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rsopt.core.objectives import Fault, Measurement
from rsopt.errors import UserError
from search.optimizer.scheduler import StartCandidate, Wait
from search.study.history import REFERENCES
from search.study.journal import read_history
from tests.support.simulated_search import PARAMETERS, keys, make_space, measure, open_search, optuna_states, run_legs


def test_references_then_starts_then_samples_to_the_end(tmp_path):
    search = open_search(tmp_path)
    legs = run_legs(search)
    roles = [state.role for state in search.history]
    assert roles == ["zero_shot", "full_depth", "start", "start", *["sampled"] * 4]
    assert search.done and search.used == 6 and search.exhausted is None
    assert [(leg.number, leg.start, leg.stop) for leg in legs[:5]] == [
        (0, 0.0, 1.0),
        (1, 0.0, 0.5),
        (1, 0.5, 1.0),
        (2, 0.0, 0.5),
        (2, 0.5, 1.0),
    ]
    zero_shot, full_depth, start, partial = search.history[:4]
    assert zero_shot.candidate.variant.lora is None and full_depth.candidate.variant.lora.scope == "llm"
    assert start.params == {"llm_layers": 6, "lora": "llm", "lr": 1e-3} and partial.params["llm_layers"] == 7
    assert all(state.final and state.final.rung == 1.0 for state in search.history)
    assert optuna_states(search) == [TrialState.COMPLETE] * 8


def test_no_leg_is_handed_out_twice_and_seeds_are_stable(tmp_path):
    search = open_search(tmp_path, trials=10)
    legs = run_legs(search)
    assert len({(leg.number, leg.stop) for leg in legs}) == len(legs) == 1 + 2 * 11
    again = run_legs(open_search(tmp_path / "again", trials=10))
    assert again == legs  # the same candidates, seeds and order
    assert len({leg.seed for leg in legs}) == 12 and all(0 <= leg.seed < 2**31 for leg in legs)
    other = run_legs(open_search(tmp_path / "other", trials=10, seed=4))
    assert {leg.seed for leg in other}.isdisjoint({leg.seed for leg in legs})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_reopening_after_every_leg_changes_nothing(tmp_path, sampler):
    discrete = "{llm_layers: {layers: [0.25, 1.0]}, llm_rank: {int: [4, 7]}, lora: {choice: [llm, both]}, epochs: {int: [1, 2]}}"
    spaces = [make_space(tmp_path / name, discrete, "[]") for name in ("whole", "parts")]
    whole = open_search(tmp_path / "whole", spaces[0], sampler=sampler, trials=40)
    run_legs(whole)
    while True:
        parts = open_search(tmp_path / "parts", spaces[1], sampler=sampler, trials=40)
        legs = run_legs(parts, legs=5)
        parts.close()
        if not legs:
            break
    assert parts.history == whole.history and len(set(keys(whole.history))) == 42


def test_slots_cap_what_is_in_flight(tmp_path):
    search = open_search(tmp_path, slots=3)
    legs = [search.ask() for _ in range(5)]
    assert [leg and leg.number for leg in legs] == [0, 1, 2, None, None]
    assert search.in_flight == tuple(legs[:3]) and not search.done
    search.tell(legs[1], measure(legs[1]))
    assert search.ask().number == 1  # promoted before anything new


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (lambda leg: Fault(leg.stop, "exception", "boom"), "exception: boom"),
        (lambda leg: Fault(leg.stop, "garbage", "all captions alike"), "garbage: all captions alike"),
        (lambda leg: Measurement(leg.stop, {"cider": math.nan}, {}), "nan: cider is nan at rung 0.5"),
        (lambda leg: Measurement(leg.stop, {"latency_ms": math.inf}, {}), "nan: latency_ms is inf at rung 0.5"),
        (
            lambda leg: Measurement(leg.stop, {"cider": 1.0, "params": 1.0}, {}) if leg.last else measure(leg),
            "missing: no latency_ms at rung 1",
        ),
    ],
)
def test_a_candidates_own_failure_is_pruned_with_its_reason(tmp_path, outcome, reason):
    search = open_search(tmp_path)
    run_legs(search, lambda leg: outcome(leg) if leg.number == 3 else measure(leg))
    failed = search.history[3]
    assert (failed.state, failed.reason, failed.final) == ("failed", reason, None)
    assert search.done and search.used == 6
    assert [n for n, state in enumerate(optuna_states(search)) if state == TrialState.PRUNED] == [3]
    assert search._journal.trials()[3].values is None
    search.close()
    assert open_search(tmp_path).history[3] == failed


def test_a_study_of_failures_ends(tmp_path):
    search = open_search(tmp_path)
    run_legs(search, lambda leg: Fault(leg.stop, "nan", "loss"))
    assert search.done and {state.state for state in search.history} == {"failed"}


def test_a_side_figure_that_is_not_finite_is_absent(tmp_path):
    search = open_search(tmp_path)
    leg = search.ask()
    search.tell(leg, Measurement(1.0, {**measure(leg).metrics, "meteor": math.nan}, {"train": 2.0}))
    assert "meteor" not in search.history[0].final.metrics and search.history[0].final.seconds == {"train": 2.0}


def test_the_zero_shot_base_may_lack_an_objective_and_teaches_nothing(tmp_path):
    search = open_search(tmp_path)
    run_legs(search, lambda leg: Measurement(1.0, {"cider": 3.0}, {}) if leg.number == 0 else measure(leg))
    assert search.history[0].state == "complete" and optuna_states(search)[0] == TrialState.PRUNED
    assert all(trial.params for trial in search._proposer._sampler._study.trials)


def test_lost_thrice_is_given_up_as_infrastructure(tmp_path):
    search = open_search(tmp_path)
    first = search.ask()
    search.tell(first, measure(first))
    for loss in range(3):
        leg = search.ask()
        assert (leg.number, leg.start) == (1, 0.0) and search.in_flight == (leg,)
        search.report_lost(leg)
        search.report_lost(leg)  # told twice: counted once
        assert search.history[1].lost == (0.5,) * (loss + 1)
        search.close()
        search = open_search(tmp_path)
    assert search.history[1].state == "failed" and "lost 3 times" in search.history[1].reason
    assert optuna_states(search)[1] == TrialState.FAIL
    run_legs(search)
    assert search.done and search.used == 6


def test_losses_are_counted_by_leg(tmp_path):
    search, losses = open_search(tmp_path, trials=1), {}
    while (leg := search.ask()) is not None:
        losses[leg.number, leg.stop] = losses.get((leg.number, leg.stop), 0) + 1
        if losses[leg.number, leg.stop] < 3:
            search.report_lost(leg)
        else:
            search.tell(leg, measure(leg))
    assert search.done and {state.state for state in search.history} == {"complete"}


def test_what_comes_too_late_changes_nothing(tmp_path):
    search = open_search(tmp_path)
    leg = search.ask()
    search.report_lost(leg)
    assert search.orphans == (leg,)
    search.tell(leg, measure(leg))  # the worker lived after all, and nobody else has the leg yet
    before = search.history
    search.tell(leg, Fault(1.0, "exception", "again"))
    search.report_lost(leg)
    assert search.history == before and search.history[0].state == "complete" and not search.orphans
    leg = search.ask()
    with pytest.raises(ValueError, match="came back with rung 1"):
        search.tell(leg, Measurement(1.0, {}, {}))
    search.tell(leg, measure(leg))
    with pytest.raises(ValueError, match="never asked for"):
        search.tell(search._leg(1), Measurement(1.0, {}, {}))


def test_orphans_go_first_and_may_be_told(tmp_path):
    search = open_search(tmp_path, slots=4)
    legs = [search.ask() for _ in range(4)]
    search.tell(legs[2], measure(legs[2]))
    legs.append(search.ask())
    search.close()
    assert [s.state for s in read_history(tmp_path / "study")] == ["interrupted"] * 4
    search = open_search(tmp_path, slots=4)
    assert search.orphans == (legs[0], legs[1], legs[4], legs[3])
    search.tell(legs[1], measure(legs[1]))  # it had finished when nobody listened
    assert [search.ask() for _ in range(3)] == [legs[0], legs[4], legs[3]]
    assert search.ask().start == 0.5 and search.ask() is None
    assert [s.state for s in search.snapshot(live=False)] == ["interrupted"] * 4


def test_values_at_lower_rungs_are_never_final(tmp_path):
    search = open_search(tmp_path)
    for leg in [search.ask()]:
        search.tell(leg, measure(leg))
    leg = search.ask()
    search.tell(leg, measure(leg))
    resting = search.history[1]
    assert (resting.state, resting.final, resting.reached) == ("resting", None, 0.5)
    assert optuna_states(search)[1] == TrialState.RUNNING and search._journal.trials()[1].values is None


def test_repeated_candidates_are_not_run_again_and_an_exhausted_space_ends(tmp_path):
    space = make_space(tmp_path, "{llm_layers: {layers: [0.5, 1.0]}, ranking: {choice: [prefix, alternate]}}", "[]")
    search = open_search(tmp_path, space, trials=100)
    run_legs(search)
    # Five depths by two rankings; at full depth both are the reference point.
    assert search.done and search.used == 8 and "every candidate" in search.exhausted
    assert len(set(keys(search.history))) == len(search.history) == 10
    search.close()
    again = open_search(tmp_path, space, trials=100)
    assert again.ask() is None and again.done


def test_limits_refuse_before_anything_runs(tmp_path):
    def limit(candidate):
        depth = len(candidate.variant.llm_layers)
        return f"{depth} layers are more than 6" if depth > 6 else None

    search = open_search(tmp_path, limit=limit, trials=10)
    legs = run_legs(search)
    refused = [state for state in search.history if state.state == "infeasible"]
    assert search.used == 10 and refused and search.history[3] in refused  # the second starting point
    assert not {leg.number for leg in legs} & {state.number for state in refused}
    assert refused[0].reason == "7 layers are more than 6" and refused[0].rungs == ()
    assert [optuna_states(search)[state.number] for state in refused] == [TrialState.PRUNED] * len(refused)
    assert search.history[1].state == "complete"  # a reference point of 8 layers


def test_limits_that_exclude_everything_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr("search.engine.search.INFEASIBLE_LIMIT", 30)
    search = open_search(tmp_path, limit=lambda candidate: "too much", sampler="random")
    legs = run_legs(search)
    assert search.done and len(legs) == 3 and len(search.history) == 32
    assert search.exhausted == "the last 30 candidates broke a limit, the last one: too much"


def test_a_finished_study_can_be_extended(tmp_path):
    search = open_search(tmp_path)
    run_legs(search)
    search.close()
    more, straight = open_search(tmp_path, trials=9), open_search(tmp_path / "straight", trials=9)
    assert not more.done
    run_legs(more), run_legs(straight)
    assert more.history == straight.history and more.used == 9


def test_a_policy_that_never_promotes_leaves_stopped_candidates(tmp_path):
    search = open_search(tmp_path, scheduler=lambda history, room, seed: StartCandidate() if room else Wait())
    run_legs(search)
    assert search.done and {s.state for s in search.history} == {"complete", "stopped"}
    assert search.history[4].reason == "not promoted beyond 0.5 of its training"
    assert optuna_states(search)[1:] == [TrialState.PRUNED] * 7


def test_a_policy_that_idles_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="the scheduler waits"):
        open_search(tmp_path, scheduler=lambda history, room, seed: Wait()).ask()


def test_one_driver_at_a_time_and_only_the_same_study(tmp_path):
    search = open_search(tmp_path)
    run_legs(search, legs=3)
    with pytest.raises(UserError, match="another process is driving the study"):
        open_search(tmp_path)
    search.close()
    other = make_space(tmp_path / "other", PARAMETERS.replace("0.5", "0.25"))
    for changed in ({"seed": 4}, {"rungs": (0.25, 1.0)}, {"space": other}):
        with pytest.raises(UserError, match=r"was created with (seed 3|rungs \[0.5, 1.0\]|space [0-9a-f]{16}), not"):
            open_search(tmp_path, **changed)
    with pytest.raises(UserError, match="unknown sampler 'grid'; known: known_cost, tpe, nsga2, random"):
        open_search(tmp_path, sampler="grid")
    with pytest.raises(UserError, match="at least 1"):
        open_search(tmp_path, trials=0)
    with pytest.raises(UserError, match="no study in"):
        read_history(tmp_path / "nothing")
    open_search(tmp_path).close()


@pytest.mark.parametrize("torn", [b'{"op_code":8,"worker', b"\0" * 70_000, b'{"op": tru\n', b'{"a":1}\n{"b":'])
def test_a_torn_journal_is_cut_back_and_says_so(tmp_path, torn):
    search = open_search(tmp_path)
    run_legs(search, legs=4)
    before = search.history
    search.close()
    journal = tmp_path / "study" / "journal.log"
    whole = journal.read_bytes()
    if torn.startswith(b'{"a"'):  # only what comes after the last whole line goes
        torn = torn.split(b"\n")[1]
    journal.write_bytes(whole + torn)
    Path(f"{journal}.lock").symlink_to(journal)  # the dead driver's; Optuna would wait for it for half a minute
    assert len(read_history(tmp_path / "study")) == len(before)
    search = open_search(tmp_path)
    assert search.cut_bytes == len(torn) and journal.read_bytes()[: len(whole)] == whole
    assert keys(search.history) == keys(before)
    run_legs(search)
    search.close()
    assert open_search(tmp_path).cut_bytes == 0


def killed_at_write(folder, space, write, torn):
    """Drive in a child process that dies by SIGKILL at its n-th write to the journal; True if it died."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with contextlib.suppress(BaseException):
        appended, append = [], JournalFileBackend.append_logs

        def dying(backend, logs):
            appended.append(logs)
            if len(appended) < write:
                return append(backend, logs)
            if torn:
                with Path(backend._file_path).open("ab") as file:
                    file.write(json.dumps(logs[0]).encode()[:-9])
            else:
                append(backend, logs)
            os.kill(os.getpid(), signal.SIGKILL)

        JournalFileBackend.append_logs = dying
        run_legs(open_search(folder, space))
    os._exit(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("torn", [False, True])
def test_sigkill_at_any_write_gives_the_same_search(tmp_path, torn):
    space = make_space(tmp_path)
    undisturbed = open_search(tmp_path / "undisturbed", space)
    run_legs(undisturbed)
    deaths = 0
    # Once at each early write of a session (creating the study among them), then every few writes up to the end.
    for write in [*range(1, 9), *[3] * 200]:
        if not killed_at_write(tmp_path / "killed", space, write, torn):
            break
        deaths += 1
    resumed = open_search(tmp_path / "killed", space)
    run_legs(resumed)
    assert deaths > 10 and resumed.history == undisturbed.history
    ends = [trial.state for trial in resumed._journal.trials()]
    assert ends == optuna_states(undisturbed) and resumed.done


def test_optuna_stays_quiet_and_as_it_was(tmp_path, capfd):
    level = optuna.logging.get_verbosity()
    run_legs(open_search(tmp_path, trials=14))
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")


def test_references_are_the_first_two(tmp_path):
    search = open_search(tmp_path)
    run_legs(search)
    assert tuple(state.role for state in search.history[:2]) == REFERENCES
    assert all(state.reference == (state.number < 2) for state in search.history)
