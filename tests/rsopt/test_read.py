"""Readers: four forms, one internal form; bad sets refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsopt.data import images as images_module
from rsopt.data.images import VIEWS, open_image, view
from rsopt.data.read import read
from rsopt.data.records import CaptionData, Sample
from rsopt.errors import UserError
from tests.rsopt.forms import Drawn, drawn_set, hub_table, write_karpathy, write_nwpu, write_parquet, write_saved


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def items(tmp_path: Path) -> list[Drawn]:
    return drawn_set(tmp_path / "drawn")


@pytest.fixture
def root(tmp_path: Path, items: list[Drawn]) -> Path:
    return write_karpathy(tmp_path / "rsicd", items)


def internal(data: CaptionData) -> list[tuple[Any, ...]]:
    """All that a search sees of a data set, in an order of its own: captions, classes, pixels."""
    return sorted(
        (s.image_id, s.split, s.captions, s.scene, open_image(s).size, open_image(s).tobytes()) for s in data.samples
    )


def edit(root: Path, change: Any) -> None:
    file = next(root.glob("dataset*.json"))
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def refused(path: Path, *words: str, skip_bad: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        read(path, skip_bad=skip_bad, verify=True)
    told = str(caught.value)
    assert "\n" not in told
    for word in words:
        assert word in told, told
    return told


def test_four_forms_read_to_the_same(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    forms = {
        "karpathy": root,
        "nwpu": write_nwpu(tmp_path / "nwpu", items),
        "parquet": write_parquet(tmp_path / "hub", items),
        "saved": write_saved(tmp_path / "saved", items),
    }
    read_in = {name: read(path, verify=True) for name, path in forms.items()}
    first = internal(read_in["karpathy"])
    assert len(first) == len(items)
    for name, data in read_in.items():
        assert internal(data) == first, name
        assert data.changes == read_in["karpathy"].changes, name
    pixels = {s.image_id: open_image(s).tobytes() for s in read_in["saved"].samples}
    for item in items:
        assert pixels[item.filename] == Image.open(tmp_path / "drawn" / item.filename).convert("RGB").tobytes()


def test_the_library_s_own_saved_folder_reads_the_same(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {
        split: datasets.Dataset(hub_table([i for i in items if i.split == split])).cast_column(
            "image", datasets.Image()
        )
        for split in ("train", "val", "test")
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "by_library")
    assert internal(read(tmp_path / "by_library")) == internal(read(root))


@pytest.mark.parametrize("images", ["images", "imgs", "Sydney_images"])
def test_kin_of_rsicd(tmp_path: Path, items: list[Drawn], root: Path, images: str) -> None:
    kin = write_karpathy(tmp_path / "kin", items, name="ucm", images=images)
    assert internal(read(kin)) == internal(read(root))
    assert internal(read(kin / "dataset_ucm.json")) == internal(read(root))
    assert read(kin).name == "ucm"


def test_raw_wins_over_tokens_and_numbers_are_no_class(tmp_path: Path, root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"][0]["sentences"][0]["tokens"] = ["other", "words"]
        content["images"][1]["filename"] = "00001.jpg"

    (root / "RSICD_images" / "bridge_1.jpg").rename(root / "RSICD_images" / "00001.jpg")
    edit(root, change)
    samples = {s.image_id: s for s in read(root).samples}
    assert samples["pond_1.jpg"].captions[0].text.startswith("there is a red pond")
    assert samples["00001.jpg"].scene is None and samples["pond_1.jpg"].scene == "pond"


def test_one_caption_a_row_and_single_files(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    rows = [
        Drawn(i.filename, i.split, i.scene, (text,), i.data) for i in items for text in i.texts
    ]  # a row for each caption
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
        "import sys\nfrom rsopt.data.read import read\nfrom rsopt.errors import command\n"
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


def test_repeats_are_weights(root: Path) -> None:
    samples = {s.image_id: s for s in read(root).samples}
    assert [c.count for c in samples["pond_1.jpg"].captions] == [5]
    assert [c.count for c in samples["bridge_1.jpg"].captions] == [1, 4]
    assert len(samples["bridge_1.jpg"].references) == 5


def test_missing_images(root: Path) -> None:
    for name in ("pond_1.jpg", "pond_2.jpg", "pond_3.jpg", "bridge_1.jpg"):
        (root / "RSICD_images" / name).unlink()
    refused(root, "4 images that are listed but not there: pond_1.jpg, bridge_1.jpg, pond_2.jpg, ...", "--skip-bad")
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"missing_image": 4} and len(kept.samples) == 20


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_broken_images_are_found_before_a_search(root: Path, damage: str) -> None:
    file = root / "RSICD_images" / "pond_2.jpg"
    data = file.read_bytes()
    file.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"<html>404</html>"}[damage])
    refused(root, "1 images that cannot be decoded: pond_2.jpg (", "--skip-bad")
    assert len(read(root).samples) == 24  # not looked at unless asked
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"broken_image": 1} and "pond_2.jpg" not in {s.image_id for s in kept.samples}


def test_a_second_look_decodes_nothing_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = images_module._look

    def counted(sample: Sample) -> Any:
        looks.append(sample.image_id)
        return look(sample)

    monkeypatch.setattr(images_module, "_look", counted)
    read(root, verify=True)
    read(root, verify=True)
    assert len(looks) == 24
    file = root / "RSICD_images" / "pond_2.jpg"
    file.write_bytes(file.read_bytes()[:400])
    refused(root, "pond_2.jpg")
    kept = next(iter((Path(os.environ["RSOPT_CACHE"]) / "inspected").glob("*.json")))
    kept.write_text("{torn")
    read(root, skip_bad=True)


def test_an_image_in_two_splits_stays_where_it_is_scored(root: Path) -> None:
    edit(root, lambda content: content["images"].append(content["images"][4] | {"split": "train"}))
    refused(root, "1 images in two splits: bridge_2.jpg (train and val)", "--skip-bad")
    kept = read(root, skip_bad=True)
    assert [s.split for s in kept.samples if s.image_id == "bridge_2.jpg"] == ["val"]
    assert kept.skipped == {"two_splits": 1}


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "/etc/passwd", "a/../../outside.jpg", "..\\outside.jpg", "C:\\x.jpg", "x\0.jpg", ""]
)
def test_names_that_leave_the_folder(tmp_path: Path, root: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "rsicd" / "outside.jpg")
    edit(root, lambda content: content["images"][0].update(filename=name))
    refused(root, "1 file names that leave the image folder")
    assert read(root, skip_bad=True).skipped == {"unsafe_path": 1}


def test_names_that_leave_the_folder_in_parquet(tmp_path: Path, items: list[Drawn]) -> None:
    odd = Drawn("../../outside.jpg", "train", "pond", items[0].texts, items[0].data)
    refused(write_parquet(tmp_path / "hub", [*items, odd]), "leave the image folder: rsicd_images/../../outside.jpg")


def test_no_caption_and_unknown_split(root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"][0]["sentences"] = [{"raw": " . "}, {"raw": ""}]
        content["images"][1]["split"] = "holdout"

    edit(root, change)
    refused(root, "1 images without a caption: pond_1.jpg", "unknown split: bridge_1.jpg ('holdout'; known: train")
    assert read(root, skip_bad=True).skipped == {"no_caption": 1, "unknown_split": 1}


def test_empty_split_is_refused_even_with_skip_bad(root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["split"] = "train" if image["split"] == "val" else image["split"]

    edit(root, change)
    for skip_bad in (False, True):
        refused(root, "the val split has no usable image; usable images: train 20, val 0, test 4", skip_bad=skip_bad)


def test_what_is_no_data_set(tmp_path: Path, root: Path) -> None:
    refused(tmp_path / "nowhere", "no such folder", "arampacha/rsicd")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no dataset*.json and no parquet file")
    (tmp_path / "empty" / "dataset.json").write_text('{"pictures": []}')
    refused(tmp_path / "empty", "dataset.json has no `images`")
    (tmp_path / "empty" / "dataset.json").write_text('{"images": [')
    refused(tmp_path / "empty", "not JSON", "line 1")
    (tmp_path / "empty" / "dataset.json").write_text('{"images": []}')
    refused(tmp_path / "empty", "at least one image")
    (tmp_path / "empty" / "dataset.json").write_bytes(b"\xff\xfe\x00{")
    refused(tmp_path / "empty", "not UTF-8")
    edit(root, lambda content: content["images"][3].pop("filename"))
    refused(root, "images[3] has no `filename`")
    edit(root, lambda content: content["images"][3].update(filename="x.jpg", sentences=[{}]))
    refused(root, "images[3] (x.jpg): sentences[0] has no `raw` text")


def test_parquet_that_is_not_ours(tmp_path: Path, items: list[Drawn]) -> None:
    hub = write_parquet(tmp_path / "hub", items, caption="text")
    refused(hub, "columns are filename, text, image; needed: captions or caption, image")
    torn = write_parquet(tmp_path / "torn", items)
    file = next((torn / "data").glob("train*"))
    file.write_bytes(file.read_bytes()[:-100])
    refused(torn, f"{file}: cannot be read")


def test_views_are_the_eight_symmetries() -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    views = {view(picture, n).tobytes() for n in range(VIEWS)}
    assert len(views) == VIEWS == 8 and view(picture, 0).tobytes() == picture.tobytes()
    with pytest.raises(ValueError, match="0 to 7"):
        view(picture, 8)
