"""The search command as a real process that can be killed, and what a study left behind."""

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
DEADLINE_S = float(os.environ.get("CHAOS_DEADLINE_S", "300"))  # for one search; a busy machine needs more


def times(name: str, default: int) -> int:
    """How often a chaos test does its worst: `CHAOS_<name>`, else `CHAOS_TIMES`, else as the test says."""
    return int(os.environ.get(f"CHAOS_{name}") or os.environ.get("CHAOS_TIMES") or default)


def prepare(folder: Path) -> Path:
    """A user's folder: a space and a small data set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(SPACE)
    write_fields_dataset(folder / "fields")
    return folder


@dataclass(slots=True)
class Run:
    """One process of the command, with its output in files: nobody has to read a pipe while it is tormented."""

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
        """Its exit code; a process that takes too long is killed and fails the test."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout:g} s\n{self.stderr[-2000:]}") from None

    def kill(self) -> None:
        """SIGKILL to the driver alone; then wait until what it started has found out and is gone."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)

    def workers(self) -> list[psutil.Process]:
        """Ray's workers that run legs now."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "ray::ImplicitFunc" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def start(folder: Path, *options: str, environment: Mapping[str, str] | None = None, module: str = "search.run") -> Run:
    """Run the command as a user would, in a folder of theirs."""
    own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    number = len(list(folder.glob("out-*")))
    out, err = folder / f"out-{number}", folder / f"err-{number}"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            cwd=folder,
            env=own | {"PYTHONPATH": f"{HOOKS}:{REPOSITORY}", "COLUMNS": "200"} | dict(environment or {}),
            stdout=stdout,
            stderr=stderr,
        )
    return Run(process, out, err)


@contextmanager
def running(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Run]:
    """The same, killed at the end whatever happened."""
    run = start(folder, *options, environment=environment)
    try:
        yield run
    finally:
        run.kill()


def search(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run the command to its end, which must be a good one."""
    with running(folder, *options, environment=environment) as run:
        code = run.wait()
        assert code == 0, f"exit {code}\n{run.stderr[-3000:]}\n{run.stdout[-1000:]}"
        return run


def on_own_disk(script: str, folder: Path, environment: Mapping[str, str], timeout: float) -> int:
    """Exit code of a script in a mount namespace of its own; 77 says that it may not mount a tmpfs there: the test is skipped."""
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], cwd=folder, env=environment, timeout=timeout)
    if done.returncode == 77:
        pytest.skip("NOT TESTED: no tmpfs may be mounted here, not even in a user namespace")
    return done.returncode


def until(happened: Callable[[], bool], run: Run, timeout: float = DEADLINE_S) -> None:
    """Wait for something while the command runs."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert run.process.poll() is None, f"ended with {run.process.returncode}\n{run.stderr[-3000:]}"
        assert time.monotonic() < deadline, f"not within {timeout:g} s\n{run.stderr[-3000:]}"
        time.sleep(0.1)


def rungs(study: Path) -> dict[str, int]:
    """Finished legs of a study: folder by candidate and rung, with its inode: another one would be another training."""
    return {f"{p.parent.name}/{p.name}": p.stat().st_ino for p in study.glob("candidates/[0-9]*/rung-*")}


def front(study: Path) -> dict[str, Any]:
    return json.loads((study / "front.json").read_text())


def essence(study: Path) -> list[dict[str, Any]]:
    """What must be the same in two searches that are the same."""
    keys = ("id", "role", "state", "pareto", "variant", "recipe", "params", "objectives", "rung")
    return [{key: trial[key] for key in keys} for trial in front(study)["trials"]]


def check_whole(study: Path, uri: str, trials: int) -> None:
    """Every candidate finished, nothing half-written left, one MLflow run a candidate and one parent, none running."""
    found = front(study)["trials"]
    assert sum(t["role"] not in ("zero_shot", "full_depth") for t in found) == trials
    assert not (unlike := out_of_order(found)), unlike
    check_mlflow(study.name, uri, len(found))


def out_of_order(trials: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Trials that did not end in good order: (id, state, reason).

    Complete and stopped are ends like others; so is a candidate that babbles, its own fault on this little data.
    """
    return [
        (t["id"], t["state"], t["reason"])
        for t in trials
        if t["state"] not in ("complete", "stopped") and not str(t["reason"]).startswith("garbage: ")
    ]


def check_mlflow(name: str, uri: str, candidates: int) -> None:
    """MLflow has exactly one run a candidate and one parent, and none of them is said to run."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("rsopt-small")
    runs = client.search_runs([experiment.experiment_id], f"tags.`rsopt.study` = '{name}'", max_results=1000)
    assert len([r for r in runs if "mlflow.parentRunId" not in r.data.tags]) == 1
    children = [r.data.tags["rsopt.trial"] for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert sorted(children, key=int) == [str(n) for n in range(candidates)]
    assert not [r.info.run_name for r in runs if r.info.status == "RUNNING"]


def trained(log: Path) -> list[dict[str, Any]]:
    """Stretches of training that came to their end, as the hooks logged them."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def interrupt(run: Run, how: int = signal.SIGINT) -> float:
    """Send a signal and wait; seconds until the process was gone."""
    asked = time.monotonic()
    run.process.send_signal(how)
    run.wait(60)
    return time.monotonic() - asked
