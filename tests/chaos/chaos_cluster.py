"""Three Ray nodes on one machine: the same result as on one node, all nodes are used, a killed node costs at most a leg."""

from __future__ import annotations

import random
import time
from pathlib import Path

from search.study.journal import read_history
from tests.chaos.cluster import local_cluster
from tests.chaos.command import check_whole, essence, rungs, running, search, times, trained, until
from tests.chaos.conftest import TRIALS, Undisturbed

KILLS = times("NODE_KILLS", 5)
LEG_S = 3.0  # about the training time of a leg


def test_one_worker_has_the_same_result_on_three_nodes_as_on_one(calm: Undisturbed, tmp_path: Path) -> None:
    with local_cluster(3, 2, {"CHAOS_LOG": str(tmp_path / "log")}) as cluster:
        search(calm.folder, *calm.options("three-nodes"), "--address", cluster.address)
        assert essence(calm.folder / "runs" / "three-nodes") == essence(calm.study)
        search(calm.folder, *calm.options("six", trials=8, workers=6), "--address", cluster.address)
    check_whole(calm.folder / "runs" / "six", calm.uri, 8)
    nodes = {t["node"] for t in trained(tmp_path / "log")[2 * (TRIALS + 1) :]}
    print(f"six workers trained on {len(nodes)} nodes")
    assert len(nodes) == 3


def test_a_killed_node_costs_at_most_a_leg(calm: Undisturbed, tmp_path: Path) -> None:
    rng, killed, name, log = random.Random(2), 0, "nodes", tmp_path / "log"
    study = calm.folder / "runs" / name
    with local_cluster(3, 1, {"CHAOS_LOG": str(log)}) as cluster:
        trials = 2 * KILLS + 2
        options = [*calm.options(name, trials=trials, workers=2), "--address", cluster.address]
        with running(calm.folder, *options) as run:
            until(lambda: len(rungs(study)) > 0, run)
            while killed < KILLS and run.process.poll() is None:
                cluster.replace(rng.randrange(3))
                killed += 1
                # Wait for progress, not for seconds: on a fast machine the study would end before the last kill. A leg lost
                # three times is given up, so a lost leg must end before the next kill.
                finished = len(rungs(study))
                until(
                    lambda before=finished: (
                        run.process.poll() is not None or (len(rungs(study)) > before and not has_lost_legs(study))
                    ),
                    run,
                )
                time.sleep(rng.uniform(0, LEG_S))
            assert run.wait() == 0, run.stderr[-3000:]
    check_whole(study, calm.uri, trials)
    later = [t for t in trained(log) if t["start"] > 0]
    assert later and all(t["loaded"] for t in later)
    print(f"{killed} nodes killed; {len(later)} legs started from a checkpoint")
    assert killed == KILLS, "the study ended before all kills: give it more trials"


def has_lost_legs(study: Path) -> bool:
    """Whether a leg was lost and has not finished since."""
    return any(not c.finished and any(stop > c.reached for stop in c.lost) for c in read_history(study))
