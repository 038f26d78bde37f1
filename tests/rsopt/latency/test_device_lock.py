"""The quiet lock, with real processes: measurements start soon, queue, and outlive killed holders."""

from __future__ import annotations

import fcntl
import multiprocessing as mp
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from rsopt.latency.device_lock import DeviceLock

SPAWN = mp.get_context("spawn")


def _train(folder: Path, stop: Any, steps: Any, paused: Any) -> None:
    device_lock = DeviceLock("cpu", folder)
    with device_lock.shared():
        while not stop.is_set():
            begin = time.monotonic()
            device_lock.yield_to_measurement()
            paused.value += time.monotonic() - begin
            end = time.monotonic() + 0.01
            while time.monotonic() < end:
                pass
            steps.value += 1


def _hold(folder: Path, what: str, ready: Any, purpose: str = "") -> None:
    device_lock = DeviceLock("cpu", folder, purpose)
    with getattr(device_lock, what)():
        ready.set()
        time.sleep(60)


def _measure(folder: Path, out: Any) -> None:
    device_lock = DeviceLock("cpu", folder)
    with device_lock.exclusive():
        begin = time.monotonic()
        time.sleep(0.2)
        out.put((begin, time.monotonic()))


def _gate_is_taken(device_lock: DeviceLock) -> bool:
    with (device_lock.folder / "cpu.gate").open("rb") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_ten_trainers_make_room_within_two_seconds(tmp_path: Path) -> None:
    stop, counts, paused = (SPAWN.Event(), [SPAWN.Value("i", 0) for _ in range(10)], [SPAWN.Value("d", 0) for _ in range(10)])
    trainers = [SPAWN.Process(target=_train, args=(tmp_path, stop, c, p)) for c, p in zip(counts, paused, strict=True)]
    for process in trainers:
        process.start()
    while not all(c.value for c in counts):
        time.sleep(0.05)
    device_lock = DeviceLock("cpu", tmp_path)
    asked = time.monotonic()
    with device_lock.exclusive(patience_s=20) as alone:
        assert alone and time.monotonic() - asked < 2
        time.sleep(0.3)
        before = [c.value for c in counts]
        time.sleep(0.5)
        assert [c.value for c in counts] == before, "a trainer computed during a measurement"
    time.sleep(0.7)
    assert all(c.value > b for c, b in zip(counts, before, strict=True)), "a trainer did not go on"
    stop.set()
    for process in trainers:
        process.join(10)
        assert process.exitcode == 0


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    for what in ("shared", "exclusive"):
        ready = SPAWN.Event()
        holder = SPAWN.Process(target=_hold, args=(tmp_path, what, ready))
        holder.start()
        assert ready.wait(20)
        assert holder.pid
        os.kill(holder.pid, signal.SIGKILL)
        begin = time.monotonic()
        with DeviceLock("cpu", tmp_path).exclusive():
            assert time.monotonic() - begin < 2
        holder.join()


def test_two_measurements_queue(tmp_path: Path) -> None:
    out = SPAWN.Queue()
    processes = [SPAWN.Process(target=_measure, args=(tmp_path, out)) for _ in range(2)]
    for process in processes:
        process.start()
    (first, second) = sorted(out.get(timeout=30) for _ in processes)
    assert first[1] <= second[0]
    for process in processes:
        process.join(10)


def test_a_measurement_does_not_wait_for_ever(tmp_path: Path) -> None:
    ready = SPAWN.Event()
    holder = SPAWN.Process(target=_hold, args=(tmp_path, "shared", ready))
    holder.start()
    assert ready.wait(20)
    device_lock = DeviceLock("cpu", tmp_path)
    with device_lock.exclusive(patience_s=0.2) as alone:
        assert not alone, "one that computes on without a pause is not quiet"
    # Who comes while a measurement waits, waits behind it: else a stream of newcomers would keep it from ever starting.
    waiting = SPAWN.Process(target=_measure, args=(tmp_path, out := SPAWN.Queue()))
    waiting.start()
    while not _gate_is_taken(device_lock):
        time.sleep(0.01)
    late = SPAWN.Event()
    newcomer = SPAWN.Process(target=_hold, args=(tmp_path, "shared", late))
    newcomer.start()
    assert not late.wait(2), "a newcomer went past a measurement that waits"
    assert holder.pid and newcomer.pid
    os.kill(holder.pid, signal.SIGKILL)
    assert out.get(timeout=20) and late.wait(20)
    os.kill(newcomer.pid, signal.SIGKILL)
    for process in (holder, waiting, newcomer):
        process.join()
    with device_lock.exclusive(patience_s=5) as alone:
        assert alone


def test_who_waits_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("rsopt.latency.device_lock._SAID_AFTER_S", 0.2)
    ready = SPAWN.Event()
    holder = SPAWN.Process(target=_hold, args=(tmp_path, "shared", ready, "trial 5 of pruning-1"))
    holder.start()
    assert ready.wait(20) and holder.pid
    with DeviceLock("cpu", tmp_path).exclusive(patience_s=1):
        pass
    (said,) = caplog.messages  # once a minute
    assert said.startswith("waiting for cpu") and f"process {holder.pid} (trial 5 of pruning-1)" in said
    holder.kill()
    holder.join()


def test_a_newcomer_waits_behind_a_measurement(tmp_path: Path) -> None:
    ready, out = SPAWN.Event(), SPAWN.Queue()
    device_lock = DeviceLock("cpu", tmp_path)
    with device_lock.exclusive():
        newcomer = SPAWN.Process(target=_hold, args=(tmp_path, "shared", ready))
        newcomer.start()
        queued = SPAWN.Process(target=_measure, args=(tmp_path, out))
        queued.start()
        assert not ready.wait(3) and out.empty()
    assert ready.wait(20)
    assert newcomer.pid
    os.kill(newcomer.pid, signal.SIGKILL)
    assert out.get(timeout=20)
    for process in (newcomer, queued):
        process.join(10)


def test_ours_are_told_from_strangers_while_they_live(tmp_path: Path) -> None:
    device_lock = DeviceLock("cpu", tmp_path)
    assert device_lock.members() == 1
    ready = SPAWN.Event()
    other = SPAWN.Process(target=_hold, args=(tmp_path, "shared", ready))
    other.start()
    assert ready.wait(20)
    assert device_lock.members() == 2
    assert other.pid
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert device_lock.members() == 1
