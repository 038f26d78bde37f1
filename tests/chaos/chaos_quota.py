"""A disk that is too small for a study: refused before any work with a --disk-gb that fits, and with it the study fits."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

from tests.chaos.command import REPOSITORY, SPACE, on_own_disk, prepare

TRIALS, QUOTA = 6, 75_000_000
# In a separate mount namespace: first without --disk-gb, then with the value of the refusal, recording the used space.
SCRIPT = """\
set -u
mkdir -p disk
mount -t tmpfs -o size={quota} disk disk || exit 77
{command} >out-1 2>err-1; echo $? >code-1
ls disk >left-1
( while sleep 0.2; do du -s -B1 disk/runs/small | cut -f1; done >>used 2>/dev/null ) &
watch=$!
{command} --disk-gb $(sed -n 's/.*--disk-gb \\([0-9.]*\\) drops.*/\\1/p' err-1) >out-2 2>err-2; echo $? >code-2
kill $watch
df --output=used -B1 disk | tail -1 >used-at-the-end
cp -r disk/runs/small study-copy
{export} >out-3 2>err-3; echo $? >code-3
"""


def test_a_disk_below_the_need_is_refused_and_the_named_limit_is_kept(tmp_path: Path) -> None:
    # More epochs than in the other chaos tests, so that no candidate fails with garbage captions.
    (prepare(tmp_path) / "small.yaml").write_text(SPACE.replace("epochs: 10", "epochs: 12"))
    search = [sys.executable, "-m", "search.run", "--space", "small.yaml", "--data", "fields", "--name", "small"]
    search += ["--trials", str(TRIALS), "--storage", "disk/runs", "--workers", "2"]
    export = [sys.executable, "-m", "search.export", "--name", "small", "--storage", "disk/runs", "--out", "knee"]
    script = SCRIPT.format(quota=QUOTA, command=shlex.join(search), export=shlex.join(export))
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(REPOSITORY)}
    on_own_disk(script, tmp_path, environment, 3000)

    def output(name: str) -> str:
        return (tmp_path / name).read_text().strip()

    refusal = output("err-1")
    print(refusal)
    assert output("code-1") == "2" and refusal.count("\n") == 0 and output("left-1") == "", "refused before any work"
    flag = re.search(r"--disk-gb (\d+\.\d+) drops", refusal)
    assert flag is not None
    assert output("code-2") == "0", output("err-2")[-3000:] + output("out-2")[-1000:]
    peak, cap = max(map(int, output("used").split())), 1e9 * float(flag[1])
    front = json.loads((tmp_path / "study-copy" / "front.json").read_text())
    stopped = [t["id"] for t in front["trials"] if (t["reason"] or "").startswith("disk:")]
    print(f"quota {QUOTA}, cap {cap:.0f}, peak of the study's folder {peak}, trials stopped for space {len(stopped)}")
    assert peak <= cap, "beyond the cap"
    written = sum(p.stat().st_size for p in (tmp_path / "study-copy").glob("candidates/*/*/state.safetensors"))
    assert written < cap and not [t for t in front["trials"] if t["state"] == "failed"]
    for trial in (t for t in front["trials"] if t["pareto"] and t["role"] != "zero_shot"):
        assert (tmp_path / "study-copy" / "candidates" / f"{trial['id']:04d}" / "rung-1.0000" / "state.safetensors").is_file()
    assert output("code-3") == "0", output("err-3")[-2000:]
