"""MLflow's server fails during a search: the search does not wait, and no metric is lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.command import check_mlflow, front, rungs, running, search, start, until
from tests.chaos.conftest import Undisturbed

OUTAGE_S = float(os.environ.get("CHAOS_OUTAGE_S", "60"))


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """A real MLflow server over a database in `folder`."""
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "files")]
    with (folder / f"server-{time.monotonic()}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *store],
            env=environment,
            stdout=log,
            stderr=log,
        )
        uri = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, "the server did not start"
                    time.sleep(0.2)
            yield uri
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_server_that_comes_back_gets_all_runs(calm: Undisturbed, tmp_path: Path) -> None:
    port, study = free_port(), calm.folder / "runs" / "outage"
    with server(tmp_path, port) as uri:
        # More trials than end during the outage.
        process = start(calm.folder, *calm.options("outage", trials=4 + int(OUTAGE_S / 4)), "--tracking-uri", uri)
        until(lambda: len(rungs(study)) > 2, process)
    before, begin = len(rungs(study)), time.monotonic()
    try:
        while time.monotonic() - begin < OUTAGE_S and process.process.poll() is None:
            time.sleep(0.2)
        assert len(rungs(study)) > before, "the search waited for MLflow"
        with server(tmp_path, port) as uri:
            assert process.wait() == 0, process.stderr[-3000:]
            if "not written" in process.stdout:  # the search ended before the server was back
                search_front = start(calm.folder, "--name", "outage", "--sync", module="search.front")
                assert search_front.wait() == 0, search_front.stderr
            check_mlflow("outage", uri, len(front(study)["trials"]))
    finally:
        process.kill()


def test_after_the_search_sync_writes_to_a_server_that_was_away(calm: Undisturbed, tmp_path: Path) -> None:
    port, study = free_port(), calm.folder / "runs" / "away"
    with server(tmp_path, port) as uri, running(calm.folder, *calm.options("away"), "--tracking-uri", uri) as run:
        until(lambda: len(rungs(study)) > 0, run)  # then driver and server are killed
    search(calm.folder, "--resume", "--name", "away")
    synced = start(calm.folder, "--name", "away", "--sync", module="search.front")
    assert synced.wait() == 2 and "does not answer" in synced.stderr and synced.stderr.count("\n") == 1
    with server(tmp_path, port) as uri:
        for _ in range(2):
            synced = start(calm.folder, "--name", "away", "--sync", module="search.front")
            assert synced.wait() == 0, synced.stderr
        check_mlflow("away", uri, len(front(study)["trials"]))
