"""Starts a real `mlflow server`, and waits for elements of a page."""

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

from tests.browser.conftest import Browser


@contextmanager
def serve(store: str, folder: Path) -> Iterator[str]:
    """Run the server in `folder` for the length of a block; yields its URL. Raises TimeoutError after two minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", store],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def until(browser: Browser, script: str, seconds: float = 90) -> object:
    """Run the script until its value is true or the seconds are over; returns the value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := browser.run(script):
            return value
        time.sleep(0.5)
    return browser.run(script)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError("mlflow server ended")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError("mlflow server did not answer within two minutes")
