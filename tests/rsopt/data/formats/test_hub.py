"""`python -m rsopt.data fetch`: a local copy in the hub's form, interrupted by a signal and by a fault, and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from rsopt.cli import command
from rsopt.data.__main__ import main
from rsopt.data.fetch import Fetched, fetch
from rsopt.data.images import open_image
from rsopt.data.read import read
from rsopt.errors import UserError
from tests.support.data_formats import drawn_set, write_parquet


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "hub", drawn_set(tmp_path / "drawn"))


def test_fetched_reads_as_the_source_does(hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rsicd"
    assert command(main, ["fetch", "rsicd", str(out), "--source", str(hub)]) == 0
    told = capsys.readouterr().out
    assert "24 images in RSICD's layout, 24 written now" in told and "differ from the official" in told
    data, source = read(out, verify=True), read(hub)
    assert data.name == f"rsicd of {hub}"  # a score says which source it is of
    pixels = {s.image_id: (s.split, s.captions, s.scene, open_image(s).tobytes()) for s in source.samples}
    assert {s.image_id: (s.split, s.captions, s.scene, open_image(s).tobytes()) for s in data.samples} == pixels
    first = json.loads((out / "dataset_rsicd.json").read_text())["images"][0]
    assert set(first) == {"filename", "imgid", "split", "sentids", "sentences"}
    assert set(first["sentences"][0]) == {"tokens", "raw", "imgid", "sentid"}
    assert command(main, ["fetch", "rsicd", str(out), "--source", str(hub)]) == 2
    assert "already there" in capsys.readouterr().err


def test_interrupted_and_resumed(hub: Path, tmp_path: Path) -> None:
    out = tmp_path / "rsicd"

    def stop(done: int, _: int, __: int) -> None:
        if done == 10:
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError):
        fetch("rsicd", out, str(hub), stop)
    assert not (out / "dataset_rsicd.json").exists()
    written = sorted((out / "RSICD_images").iterdir())
    assert len(written) == 10
    times = {f: f.stat().st_mtime_ns for f in written}
    written[0].write_bytes(b"half")  # as after a lost machine
    (out / "RSICD_images" / ".pond_9.jpg.part").write_bytes(b"half")
    assert fetch("rsicd", out, str(hub)) == Fetched(24, 15, ())
    assert all(f.stat().st_mtime_ns == times[f] for f in written[1:])
    assert len(read(out, verify=True).samples) == 24 and not list((out / "RSICD_images").glob(".*"))


def test_ctrl_c_leaves_what_a_second_call_completes(hub: Path, tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    slow = (
        "import sys, time\nimport rsopt.data.fetch as f\nfrom rsopt.data.__main__ import main\n"
        "from rsopt.cli import command\nwrite = f._write\n"
        "f._write = lambda *a: (time.sleep(0.2), write(*a))[1]\n"
        "sys.exit(command(main, sys.argv[1:]))"
    )
    arguments = ["fetch", "rsicd", str(out), "--source", str(hub)]
    process = subprocess.Popen([sys.executable, "-c", slow, *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(out.glob("RSICD_images/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "goes on from there" in told and "Traceback" not in told
    before = len(list(out.glob("RSICD_images/*.jpg")))
    assert 0 < before < 24 and not (out / "dataset_rsicd.json").exists()
    assert fetch("rsicd", out, str(hub)) == Fetched(24, 24 - before, ())


def test_what_cannot_be_fetched(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown data set 'coco'; known: rsicd"):
        fetch("coco", tmp_path / "out", str(hub))
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no parquet file"):
        fetch("rsicd", tmp_path / "out", str(tmp_path / "bare"))
    assert not (tmp_path / "out").exists()


def test_a_bad_row_of_the_source_is_refused_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = write_parquet(tmp_path / "hub", drawn_set(tmp_path / "drawn"), shards=1)
    file = next((hub / "data").glob("train*"))
    table = pyarrow.parquet.read_table(file)
    captions, images = table["captions"].to_pylist(), table["image"].to_pylist()
    captions[0][1], images[2] = None, None
    table = table.set_column(1, "captions", [captions]).set_column(2, "image", pa.array(images, table["image"].type))
    pyarrow.parquet.write_table(table, file)
    arguments = ["fetch", "rsicd", str(tmp_path / "out"), "--source", str(hub)]
    assert command(main, arguments) == 2
    assert f"{file.name}: row 0: captions[1] is null. Leave it out with --skip-bad" in capsys.readouterr().err
    assert not (tmp_path / "out" / "dataset_rsicd.json").exists()
    assert command(main, [*arguments, "--skip-bad"]) == 0
    assert "left out by --skip-bad: 2: " in capsys.readouterr().out
    assert len(read(tmp_path / "out", verify=True).samples) == 23
