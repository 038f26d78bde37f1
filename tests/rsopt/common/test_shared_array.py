"""Files built by several processes: whole or not there, whatever happens to a builder or to the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rsopt.common.shared_array import build_together, is_whole
from rsopt.errors import InfrastructureError

SHAPE, KIND, ROWS = (41, 3, 5), np.dtype(np.float32), 4

# A builder in a process of its own: says which rows it computes, slowly; `limit` is the largest file it may write.
BUILDER = """
import resource, sys, time
from pathlib import Path
import numpy as np
from rsopt.common.shared_array import build_together
from rsopt.errors import InfrastructureError
path, pause, limit = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def compute(first, last):
    print(first, flush=True)
    time.sleep(pause)
    return np.arange(first * 15, last * 15, dtype=np.float32).reshape(-1, 3, 5)
try:
    build_together(path, (41, 3, 5), np.dtype(np.float32), 4, compute)
except InfrastructureError as error:
    print("REFUSED", error, flush=True)
"""


def expected() -> np.ndarray:
    return np.arange(41 * 15, dtype=np.float32).reshape(SHAPE)


def builder(path: Path, pause: float = 0.02, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(path), str(pause), str(limit)], stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split("\n")[:-1]


def build_here(path: Path) -> list[int]:
    """Build in this process; the first rows of the chunks that were computed."""
    computed = []

    def compute(first: int, last: int) -> np.ndarray:
        computed.append(first)
        return expected()[first:last]

    build_together(path, SHAPE, KIND, ROWS, compute)
    return computed


def test_file_is_a_plain_array_and_is_built_once(tmp_path: Path) -> None:
    path, said = tmp_path / "f.npy", []
    build_together(path, SHAPE, KIND, ROWS, lambda a, b: expected()[a:b], lambda *done_of: said.append(done_of))
    assert np.array_equal(np.load(path), expected())
    assert said[-1] == (41, 41) and said == sorted(said)
    assert build_here(path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.npy", "f.npy.lock"]


@pytest.mark.parametrize("damage", ["lost", "truncated", "shape", "dtype", "garbage", "empty"])
def test_a_damaged_file_is_noticed_and_built_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "f.npy"
    build_here(path)
    if damage == "lost":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "shape":
        np.save(path, np.zeros((41, 5, 3), KIND))
    elif damage == "dtype":
        np.save(path, np.zeros(SHAPE, np.int32))
    else:
        path.write_bytes(b"" if damage == "empty" else os.urandom(path.stat().st_size))
    assert not is_whole(path, SHAPE, KIND)
    assert len(build_here(path)) == 11
    assert np.array_equal(np.load(path), expected())


def test_racing_builders_share_the_work(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    said = [lines(p) for p in [builder(path), builder(path), builder(path)]]
    assert np.array_equal(np.load(path), expected())
    assert sorted(int(n) for own in said for n in own) == list(range(0, 41, ROWS)), "every chunk once"


def test_a_killed_builders_rest_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    killed = builder(path, pause=0.2)
    assert killed.stdout is not None
    for _ in range(3):
        killed.stdout.readline()  # the third chunk is claimed and under way
    other = builder(path, pause=0.2)
    assert other.stdout is not None
    assert other.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert not path.exists()
    said = lines(other)
    assert np.array_equal(np.load(path), expected())
    assert len(said) < 11, "what the dead one had finished stays"


def test_a_build_begun_by_a_dead_process_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    killed = builder(path, pause=0.1)
    assert killed.stdout is not None
    for _ in range(4):
        killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert 0 < len(build_here(path)) < 11
    assert np.array_equal(np.load(path), expected())


def test_a_full_disk_is_an_infrastructure_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    said = lines(builder(path, limit=1500))  # the file takes 2,588 bytes
    assert said[-1].startswith("REFUSED no room for 0.000 GB") and "RSOPT_CACHE" in said[-1]
    assert len(said) == 1, "refused before any work"
    assert [p.name for p in tmp_path.iterdir()] == ["f.npy.lock"]
    assert build_here(path), "with room again it is built"
    assert np.array_equal(np.load(path), expected())


def test_a_disk_that_fills_up_while_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, written = tmp_path / "f.npy", 0
    real = os.pwrite

    def pwrite(fd: int, data: bytes, at: int) -> int:
        nonlocal written
        written += len(data)
        if written > 1000:
            raise OSError(28, "No space left on device")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(InfrastructureError, match="no room"):
        build_here(path)
    assert not path.exists()
    monkeypatch.undo()
    assert len(build_here(path)) == 11
    assert np.array_equal(np.load(path), expected())


def test_a_failing_computation_leaves_its_chunk_to_others(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"

    def compute(first: int, last: int) -> np.ndarray:
        if first >= 20:
            raise RuntimeError("a broken image")
        return expected()[first:last]

    with pytest.raises(RuntimeError, match="broken image"):
        build_together(path, SHAPE, KIND, ROWS, compute)
    assert not path.exists()
    begin = time.monotonic()
    assert build_here(path) == list(range(20, 41, ROWS))
    assert time.monotonic() - begin < 5
