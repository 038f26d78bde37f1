"""A disk that becomes full at any stage of a search: one clear line, a clean stop, and --resume works with space again."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.chaos.command import REPOSITORY, SPACE, check_whole, essence, on_own_disk
from tests.chaos.conftest import TRIALS, Undisturbed

# In a separate mount namespace: another process fills the disk once the study exists (a disk that is too small from the start
# is refused, see chaos_quota); then free space, resume, and copy the study out.
SCRIPT = """\
set -u
mkdir -p {disk}
mount -t tmpfs -o size=400m disk {disk} || exit 77
(
  while [ ! -e {study}/study.json ]; do sleep 0.05; done
  head -c $(($(df --output=avail -B1 {disk} | tail -1) - {small})) /dev/zero >{disk}/ballast
) &
{first} >out-1 2>err-1; echo $? >code-1
wait; rm {disk}/ballast
if [ -e {study}/study.json ]; then {resume} >out-2 2>err-2; else {first} >out-2 2>err-2; fi; echo $? >code-2
cp -r {study} study-copy; cp -r {disk}/mlflow.db copy.db
"""


def on_a_small_disk(calm: Undisturbed, folder: Path, small: int, cache: bool) -> tuple[int, str]:
    """Run a search on a disk with `small` bytes left, then with enough; returns exit code and output of the first run."""
    (folder / "small.yaml").write_text(SPACE)
    disk = folder / "disk"
    (folder / "fields").symlink_to(calm.folder / "fields")
    storage = ["--storage", str(disk / "runs")]
    command = [sys.executable, "-m", "search.run"]
    first = shlex.join([*command, *calm.options("full"), *storage])
    resume = shlex.join([*command, "--resume", "--name", "full", *storage])
    script = SCRIPT.format(disk=disk, small=small, first=first, resume=resume, study=disk / "runs" / "full")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    if cache:
        environment["RSOPT_CACHE"] = str(disk / "cache")
    assert on_own_disk(script, folder, environment, 600) == 0
    code = int((folder / "code-1").read_text())
    output = (folder / "out-1").read_text() + (folder / "err-1").read_text()
    assert (folder / "code-2").read_text() == "0\n", (folder / "err-2").read_text()[-3000:]
    return code, output


@pytest.mark.parametrize(
    ("small", "cache"), [(200_000, False), (2_000_000, False), (8_000_000, False), (12_000_000, False), (700_000, True)]
)
def test_a_search_stopped_by_a_full_disk_can_be_resumed(calm: Undisturbed, tmp_path: Path, small: int, cache: bool) -> None:
    code, output = on_a_small_disk(calm, tmp_path, small, cache)
    print(f"{small}: exit {code}: {[line for line in output.splitlines() if 'No space' in line][-1:]}")
    assert code == 1 and "Traceback" not in output, output[-3000:]
    assert "No space left" in output
    study = tmp_path / "study-copy"
    assert essence(study) == essence(calm.study)
    study.rename(tmp_path / "full")
    check_whole(tmp_path / "full", f"sqlite:///{tmp_path / 'copy.db'}", TRIALS)
