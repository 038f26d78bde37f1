"""Runs commands as processes that can be killed, and checks the studies that they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

from tests.support.fields_dataset import fields_space, write_fields_dataset

REPOSITORY = Path(__file__).parents[2]
HOOKS = Path(__file__).parent / "hooks"
SPACE = fields_space()
DEADLINE_S = float(os.environ.get("CHAOS_DEADLINE_S", "300"))  # for one search; increase it on a busy machine


def times(name: str, default: int) -> int:
    """The number of repetitions of a test: `CHAOS_<name>`, else `CHAOS_TIMES`, else `default`."""
    return int(os.environ.get(f"CHAOS_{name}") or os.environ.get("CHAOS_TIMES") or default)


def prepare(folder: Path) -> Path:
    """Make a user's folder with a space and a small data set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(SPACE)
    write_fields_dataset(folder / "fields")
    return folder


@dataclass(slots=True)
class Run:
    """A process of a command, with its output in files, so that no pipe has to be read."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.err.read_text()

    def wait(self, timeout: float = DEADLINE_S) -> int:
        """Wait for the exit code; a process that takes too long is killed and fails the test."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout:g} s\n{self.stderr[-2000:]}") from None

    def kill(self) -> None:
        """Send SIGKILL to the driver only; then wait until its children have ended too."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)

    def workers(self) -> list[psutil.Process]:
        """The Ray workers that run legs now."""
        workers = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "ray::ImplicitFunc" in " ".join(process.cmdline()):
                    workers.append(process)
            except psutil.Error:
                continue
        return workers


def start(folder: Path, *options: str, environment: Mapping[str, str] | None = None, module: str = "search.run") -> Run:
    """Start a command in a user's folder."""
    inherited = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    number = len(list(folder.glob("out-*")))
    out, err = folder / f"out-{number}", folder / f"err-{number}"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            cwd=folder,
            env=inherited | {"PYTHONPATH": f"{HOOKS}:{REPOSITORY}", "COLUMNS": "200"} | dict(environment or {}),
            stdout=stdout,
            stderr=stderr,
        )
    return Run(process, out, err)


@contextmanager
def running(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Run]:
    """Start the search; it is killed at the end of the block if it still runs."""
    run = start(folder, *options, environment=environment)
    try:
        yield run
    finally:
        run.kill()


def search(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run the search to its end; it must succeed."""
    with running(folder, *options, environment=environment) as run:
        code = run.wait()
        assert code == 0, f"exit {code}\n{run.stderr[-3000:]}\n{run.stdout[-1000:]}"
        return run


def on_own_disk(script: str, folder: Path, environment: Mapping[str, str], timeout: float) -> int:
    """Run a script in a separate mount namespace; returns its exit code. Skips the test on 77: no tmpfs can be mounted."""
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], cwd=folder, env=environment, timeout=timeout)
    if done.returncode == 77:
        pytest.skip("NOT TESTED: no tmpfs may be mounted here, not even in a user namespace")
    return done.returncode


def until(happened: Callable[[], bool], run: Run, timeout: float = DEADLINE_S) -> None:
    """Wait until `happened` returns true while the command runs."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert run.process.poll() is None, f"ended with {run.process.returncode}\n{run.stderr[-3000:]}"
        assert time.monotonic() < deadline, f"not within {timeout:g} s\n{run.stderr[-3000:]}"
        time.sleep(0.1)


def rungs(study: Path) -> dict[str, int]:
    """Inodes of a study's finished legs by candidate and rung; a repeated training would have another inode."""
    return {f"{p.parent.name}/{p.name}": p.stat().st_ino for p in study.glob("candidates/[0-9]*/rung-*")}


def front(study: Path) -> dict[str, Any]:
    return json.loads((study / "front.json").read_text())


def essence(study: Path) -> list[dict[str, Any]]:
    """The parts of front.json that are the same in two equal searches."""
    keys = ("id", "role", "state", "pareto", "variant", "recipe", "params", "objectives", "rung")
    return [{key: trial[key] for key in keys} for trial in front(study)["trials"]]


def check_whole(study: Path, uri: str, trials: int) -> None:
    """Check that all candidates ended well and that MLflow has their finished runs."""
    candidates = front(study)["trials"]
    assert sum(t["role"] not in ("zero_shot", "full_depth") for t in candidates) == trials
    assert not (bad := out_of_order(candidates)), bad
    check_mlflow(study.name, uri, len(candidates))


def out_of_order(trials: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """(id, state, reason) of the trials that did not end well.

    Complete, stopped, and failed with garbage captions (possible on this little data) are good ends.
    """
    return [
        (t["id"], t["state"], t["reason"])
        for t in trials
        if t["state"] not in ("complete", "stopped") and not str(t["reason"]).startswith("garbage: ")
    ]


def check_mlflow(name: str, uri: str, candidates: int) -> None:
    """Check that MLflow has one run for each candidate and one parent, and that none is running."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("rsopt-small")
    runs = client.search_runs([experiment.experiment_id], f"tags.`rsopt.study` = '{name}'", max_results=1000)
    assert len([r for r in runs if "mlflow.parentRunId" not in r.data.tags]) == 1
    children = [r.data.tags["rsopt.trial"] for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert sorted(children, key=int) == [str(n) for n in range(candidates)]
    assert not [r.info.run_name for r in runs if r.info.status == "RUNNING"]


def trained(log: Path) -> list[dict[str, Any]]:
    """Finished trainings of legs, as the hooks logged them."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def interrupt(run: Run, how: int = signal.SIGINT) -> float:
    """Send a signal and wait for the end of the process; returns the seconds."""
    begin = time.monotonic()
    run.process.send_signal(how)
    run.wait(60)
    return time.monotonic() - begin
