"""A study on S3 whose drivers and nodes share no folder: each has its own cache, and a new machine resumes the study."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import local_cluster
from tests.chaos.command import check_whole, essence, running, search, times, trained, until
from tests.chaos.conftest import TRIALS, Undisturbed
from tests.support.local_s3 import LocalS3, local_s3

KILLS = times("S3_KILLS", 4)
AWAY_S = 20
STORAGE = "s3://bucket/studies"


@pytest.fixture(scope="module")
def s3() -> Iterator[LocalS3]:
    with local_s3() as server:
        server.make_bucket("bucket")
        yield server


def machine(folder: Path, s3: LocalS3, log: Path) -> dict[str, str]:
    """The environment of a machine that shares only S3: `folder` is its working directory and holds its cache."""
    folder.mkdir()
    return s3.environment | {"RSOPT_CACHE": str(folder / "cache"), "CHAOS_LOG": str(log)}


def working_copy(machine: Path, name: str) -> Path:
    (study,) = (machine / "cache" / "studies").glob(f"*/bucket/studies/{name}")
    return study


def test_each_driver_resumes_the_study_of_another_machine(calm: Undisturbed, s3: LocalS3, tmp_path: Path) -> None:
    rng, log, resume = random.Random(3), tmp_path / "log", ["--resume", "--name", "moving", "--storage", STORAGE]
    first = [*calm.options("moving"), "--storage", STORAGE, "--tracking-uri", calm.uri]
    environment = s3.environment | {"RSOPT_CACHE": str(tmp_path / "first"), "CHAOS_LOG": str(log)}
    with running(calm.folder, *first, environment=environment) as run:
        until(lambda: len(trained(log)) > 0, run)
        time.sleep(rng.uniform(0, 0.3) * calm.seconds)
    for kill in range(1, KILLS):
        with running(folder := tmp_path / str(kill), *resume, environment=machine(folder, s3, log)) as run:
            end = time.monotonic() + rng.uniform(0.3, 0.8) * calm.seconds
            while run.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
    last = tmp_path / "last"
    finished = search(last, *resume, environment=machine(last, s3, log))
    assert f"kept in    {STORAGE}/moving" in finished.stdout
    study = working_copy(last, "moving")
    assert essence(study) == essence(calm.study)
    check_whole(study, calm.uri, TRIALS)
    legs = Counter((t["seed"], t["start"]) for t in trained(log))
    again = sum(legs.values()) - len(legs)
    print(f"{KILLS} machines lost; legs trained {sum(legs.values())}, of them again {again}")
    assert again <= KILLS  # at most one leg for each kill
    assert all(t["loaded"] == (t["start"] > 0) for t in trained(log))


def test_nodes_without_a_shared_folder_continue_from_each_others_checkpoints(
    calm: Undisturbed, s3: LocalS3, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = machine(tmp_path / "head", s3, log)
    caches = [{"RSOPT_CACHE": str(tmp_path / f"node-{at}")} for at in range(2)]
    with local_cluster(2, 1, environment, caches) as cluster:
        options = [*calm.options("apart", trials=4, workers=2), "--storage", STORAGE, "--tracking-uri", calm.uri]
        search(calm.folder, *options, "--address", cluster.address, environment=environment)
    study = working_copy(tmp_path / "head", "apart")
    check_whole(study, calm.uri, 4)
    nodes: dict[int, list[str]] = {}
    for line in trained(log):
        nodes.setdefault(line["seed"], []).append(line["node"])
        assert line["loaded"] == (line["start"] > 0)
    moved = sum(len(set(names)) > 1 for names in nodes.values())
    print(f"{len(nodes)} candidates on 2 nodes, {moved} changed their node")
    assert len({node for names in nodes.values() for node in names}) == 2
    assert moved > 0, "by chance no candidate changed its node: choose another seed"


def test_a_search_waits_for_a_bucket_that_is_away_for_a_while(calm: Undisturbed, s3: LocalS3, tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "machine"
    options = [*calm.options("waiting"), "--storage", STORAGE, "--tracking-uri", calm.uri]
    with running(calm.folder, *options, environment=machine(folder, s3, log)) as run:
        until(lambda: len(trained(log)) > 0, run)
        s3.stop()
        time.sleep(AWAY_S)
        s3.start()
        assert run.wait() == 0, run.stderr[-3000:]
    study = working_copy(folder, "waiting")
    assert essence(study) == essence(calm.study)
    check_whole(study, calm.uri, TRIALS)
    legs = Counter((t["seed"], t["start"]) for t in trained(log))
    assert set(legs.values()) == {1}, "trained twice"
