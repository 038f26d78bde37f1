"""Time to stop after one signal (cleanly) and after two (at once). Needs an idle machine."""

from __future__ import annotations

import signal
import time

import pytest

from tests.chaos.command import interrupt, rungs, running, until
from tests.chaos.conftest import Undisturbed

CLEAN_STOP_S, AT_ONCE_S = 10.0, 2.0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_within_ten_seconds_with_the_front(calm: Undisturbed, how: signal.Signals) -> None:
    name = f"stopped-{how.name}"
    with running(calm.folder, *calm.options(name, trials=30)) as run:
        until(lambda: "0001/rung-1.0000" in rungs(calm.folder / "runs" / name), run)
        seconds = interrupt(run, how)
    print(f"{how.name}: {seconds:.1f} s")
    assert run.process.returncode == 130 and "Traceback" not in run.stderr, run.stderr
    assert f"Front of {name}" in run.stdout
    assert f"python -m search.run --resume --name {name}" in run.stdout.splitlines()[-1]
    assert seconds < CLEAN_STOP_S


def test_two_signals_stop_at_once(calm: Undisturbed) -> None:
    with running(calm.folder, *calm.options("twice", trials=30)) as run:
        until(lambda: "0001/rung-0.5000" in rungs(calm.folder / "runs" / "twice"), run)
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # the system merges two simultaneous signals
        seconds = interrupt(run)
    print(f"twice: {seconds:.1f} s")
    assert run.process.returncode == 130 and "interrupted twice" in run.stderr and seconds < AT_ONCE_S
