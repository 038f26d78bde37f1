"""Hugging Face data sets: parquet, saved folders, hub ids; read without their library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from rsopt.data.read import find, read
from tests.support.data_formats import Drawn, hub_table, internal, refused, write_parquet


def test_the_library_s_own_saved_folder_reads_the_same(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {
        split: datasets.Dataset(hub_table([i for i in items if i.split == split])).cast_column("image", datasets.Image())
        for split in ("train", "val", "test")
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "by_library")
    assert internal(read(tmp_path / "by_library")) == internal(read(root))
    datasets.Dataset(hub_table(items), split="train").save_to_disk(tmp_path / "one")
    assert len(find(tmp_path / "one").rows) == 24 and find(tmp_path / "one").rows[0].split == "train"


def test_one_caption_a_row_and_single_files(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    rows = [Drawn(i.filename, i.split, i.scene, (text,), i.data) for i in items for text in i.texts]  # a row for each caption
    by_caption = write_parquet(tmp_path / "rows", rows, caption="caption", shards=1)
    assert internal(read(by_caption)) == internal(read(root))
    refused(next((by_caption / "data").glob("valid*")), "the train split has no usable image")


def test_hub_id_from_the_local_cache(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    hub = tmp_path / "hub"
    snapshot = hub / "datasets--arampacha--rsicd" / "snapshots" / ("0" * 40)
    write_parquet(snapshot, items)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    code = (
        "import sys\nfrom rsopt.data.read import read\nfrom rsopt.cli import command\n"
        "def main(argv):\n    data = read(argv[0]); print(data.name, len(data.samples)); return 0\n"
        "sys.exit(command(main, sys.argv[1:]))"
    )
    env = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
    run = [
        subprocess.run([sys.executable, "-c", code, i], capture_output=True, text=True, env=env)
        for i in ("arampacha/rsicd", "nobody/nothing")
    ]
    assert run[0].stdout == "arampacha/rsicd 24\n"
    assert run[1].returncode == 2 and run[1].stderr.startswith("error: data 'nobody/nothing'")
    assert run[1].stderr.count("\n") == 1


def test_names_that_leave_the_folder_in_parquet(tmp_path: Path, items: list[Drawn]) -> None:
    odd = Drawn("../../outside.jpg", "train", "pond", items[0].texts, items[0].data)
    refused(write_parquet(tmp_path / "hub", [*items, odd]), "leave the image folder: rsicd_images/../../outside.jpg")


def test_parquet_that_is_not_ours(tmp_path: Path, items: list[Drawn]) -> None:
    hub = write_parquet(tmp_path / "hub", items, caption="text")
    refused(hub, "columns are filename, text, image; needed: captions or caption, image")
    table = hub_table(items).set_column(1, "captions", [[{"raw": "a"}]] * len(items))
    (tmp_path / "odd").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "odd" / "train.parquet")
    refused(tmp_path / "odd", "24 captions that are not text: pond_1.jpg (train.parquet: row 0: captions is an object, not text)")
    torn = write_parquet(tmp_path / "torn", items)
    file = next((torn / "data").glob("train*"))
    file.write_bytes(file.read_bytes()[:-100])
    refused(torn, f"{file}: cannot be read")
