"""The driver is killed at random moments and taken up again: the study is the one that nobody disturbed."""

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
MOMENT = (0.05, 0.5)  # of an undisturbed study's length, start included; later its legs are done


def test_a_driver_killed_at_random_moments_loses_nothing(calm: Undisturbed, tmp_path: Path) -> None:
    rng, killed, studies, again = random.Random(0), 0, 0, 0
    while killed < KILLS:
        studies += 1
        deaths, twice = torment(calm, f"killed-{studies}", tmp_path, rng, min(KILLS_A_STUDY, KILLS - killed))
        killed, again = killed + deaths, again + twice
    # Between a training's last step and its checkpoint lie some milliseconds: a kill may fall into them, hardly twice.
    assert again <= 1
    print(f"{killed} drivers killed over {studies} studies, all of them equal to the undisturbed one")


def torment(calm: Undisturbed, name: str, logs: Path, rng: random.Random, most: int) -> tuple[int, int]:
    """One study whose driver is killed up to `most` times, fewer if it ends before: how often, and legs trained again."""
    study, log, killed = calm.folder / "runs" / name, logs / name, 0
    kept: dict[str, int] = {}
    done_before: dict[str, int] = {}  # leg -> lines of the log when it was seen finished
    while killed < most:
        resume = ["--resume", "--name", name] if (study / "study.json").exists() else calm.options(name)
        with running(calm.folder, *resume, environment={"CHAOS_LOG": str(log)}) as run:
            end = time.monotonic() + rng.uniform(*MOMENT) * calm.seconds
            while run.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            ended = run.process.poll()
        now = rungs(study)
        assert {leg: now.get(leg) for leg in kept} == kept, "a finished leg was written again"
        kept, heard = now, len(trained(log))
        done_before.update({leg: heard for leg in now if leg not in done_before})
        if ended is not None:
            assert ended == 0, run.stderr[-3000:]
            break
        killed += 1
        print(f"{name}: kill {killed}, {len(kept)} legs finished")
    search(calm.folder, "--resume", "--name", name, environment={"CHAOS_LOG": str(log)})
    assert essence(study) == essence(calm.study)
    check_whole(study, calm.uri, TRIALS)
    lines = trained(log)
    legs = Counter((t["seed"], t["start"]) for t in lines)
    again = sum(legs.values()) - len(legs)
    print(f"{name}: legs trained {sum(legs.values())}, of them again {again}")
    for leg, heard in done_before.items():
        number, stop = int(leg.split("/")[0]), float(leg.rsplit("-", 1)[1])
        assert (leg_seed(0, number), stop) not in {(t["seed"], t["stop"]) for t in lines[heard:]}, f"{leg} again"
    assert {leg: rungs(study)[leg] for leg in kept} == kept
    assert all(t["loaded"] == (t["start"] > 0) for t in lines)
    return killed, again
