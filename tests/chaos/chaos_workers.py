"""Workers are killed at random moments: their legs run again from their checkpoints, and the result is the same."""

from __future__ import annotations

import random
import time
from pathlib import Path

import psutil

from tests.chaos.command import check_whole, essence, running, times, trained
from tests.chaos.conftest import TRIALS, Undisturbed

KILLS = times("WORKER_KILLS", 10)
PAUSE = (0.2, 0.6)  # between two kills, in shares of a study's time: a leg lost three times is given up


def test_a_killed_worker_costs_at_most_a_leg(calm: Undisturbed, tmp_path: Path) -> None:
    rng = random.Random(1)
    killed = studies = resumed = 0
    while killed < KILLS:
        studies += 1
        name, log = f"workers-{studies}", tmp_path / f"log-{studies}"
        with running(calm.folder, *calm.options(name), environment={"CHAOS_LOG": str(log)}) as run:
            while killed < KILLS and run.process.poll() is None:
                end = time.monotonic() + rng.uniform(*PAUSE) * calm.seconds
                while run.process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                try:
                    for worker in run.workers()[:1]:
                        worker.kill()
                        killed += 1
                except psutil.Error:
                    continue  # the worker had ended
            assert run.wait() == 0, run.stderr[-3000:]
        study = calm.folder / "runs" / name
        assert essence(study) == essence(calm.study)
        check_whole(study, calm.uri, TRIALS)
        later = [t for t in trained(log) if t["start"] > 0]
        assert all(t["loaded"] for t in later)
        resumed += len(later)
    print(f"{killed} workers killed in {studies} studies; {resumed} legs started from a checkpoint")
