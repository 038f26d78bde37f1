"""The driver is killed at random moments and resumed: the result equals that of the undisturbed study."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from search.engine.legs import leg_seed
from tests.chaos.command import check_whole, essence, rungs, running, search, times, trained
from tests.chaos.conftest import TRIALS, Undisturbed

KILLS = times("DRIVER_KILLS", 20)
KILLS_A_STUDY = 5
MOMENT = (0.05, 0.5)  # shares of an undisturbed study's time; later its legs are finished


def test_a_driver_killed_at_random_moments_loses_nothing(calm: Undisturbed, tmp_path: Path) -> None:
    rng, killed, studies, again = random.Random(0), 0, 0, 0
    while killed < KILLS:
        studies += 1
        deaths, repeated = kill_repeatedly(calm, f"killed-{studies}", tmp_path, rng, min(KILLS_A_STUDY, KILLS - killed))
        killed, again = killed + deaths, again + repeated
    # A kill in the milliseconds between a training's last step and its checkpoint repeats the training; hardly twice.
    assert again <= 1
    print(f"{killed} drivers killed over {studies} studies, all of them equal to the undisturbed one")


def kill_repeatedly(calm: Undisturbed, name: str, logs: Path, rng: random.Random, most: int) -> tuple[int, int]:
    """Kill the driver of one study up to `most` times, unless it ends before; returns kills and legs trained again.

    Args:
        calm: the undisturbed study.
        name: of this study.
        logs: folder of the training log.
        rng: chooses the moments.
        most: kills.
    """
    study, log, killed = calm.folder / "runs" / name, logs / name, 0
    finished: dict[str, int] = {}
    done_before: dict[str, int] = {}  # leg -> length of the log when the leg was first seen finished
    while killed < most:
        resume = ["--resume", "--name", name] if (study / "study.json").exists() else calm.options(name)
        with running(calm.folder, *resume, environment={"CHAOS_LOG": str(log)}) as run:
            end = time.monotonic() + rng.uniform(*MOMENT) * calm.seconds
            while run.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            ended = run.process.poll()
        now = rungs(study)
        assert {leg: now.get(leg) for leg in finished} == finished, "a finished leg was written again"
        finished, lines_so_far = now, len(trained(log))
        done_before.update({leg: lines_so_far for leg in now if leg not in done_before})
        if ended is not None:
            assert ended == 0, run.stderr[-3000:]
            break
        killed += 1
        print(f"{name}: kill {killed}, {len(finished)} legs finished")
    search(calm.folder, "--resume", "--name", name, environment={"CHAOS_LOG": str(log)})
    assert essence(study) == essence(calm.study)
    check_whole(study, calm.uri, TRIALS)
    lines = trained(log)
    legs = Counter((t["seed"], t["start"]) for t in lines)
    again = sum(legs.values()) - len(legs)
    print(f"{name}: legs trained {sum(legs.values())}, of them again {again}")
    for leg, lines_then in done_before.items():
        number, stop = int(leg.split("/")[0]), float(leg.rsplit("-", 1)[1])
        assert (leg_seed(0, number), stop) not in {(t["seed"], t["stop"]) for t in lines[lines_then:]}, f"{leg} again"
    assert {leg: rungs(study)[leg] for leg in finished} == finished
    assert all(t["loaded"] == (t["start"] > 0) for t in lines)
    return killed, again
