"""Readers: four forms, one internal form; bad sets refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsopt.data import images as images_module
from rsopt.data.images import open_image
from rsopt.data.read import read
from rsopt.data.records import Sample
from tests.support.data_formats import Drawn, internal, refused, write_karpathy, write_nwpu, write_parquet, write_saved


def edit(root: Path, change: Any) -> None:
    file = next(root.glob("dataset*.json"))
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


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


def test_repeats_are_weights(root: Path) -> None:
    samples = {s.image_id: s for s in read(root).samples}
    assert [c.count for c in samples["pond_1.jpg"].captions] == [5]
    assert [c.count for c in samples["bridge_1.jpg"].captions] == [1, 4]
    assert len(samples["bridge_1.jpg"].references) == 5


def test_missing_images(root: Path) -> None:
    for name in ("pond_1.jpg", "pond_2.jpg", "pond_3.jpg", "bridge_1.jpg"):
        (root / "RSICD_images" / name).unlink()
    refused(root, "4 images that are listed but missing: pond_1.jpg, bridge_1.jpg, pond_2.jpg, ...", "--skip-bad")
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
    decoded: list[str] = []
    decode = images_module._decode

    def counted(sample: Sample) -> Any:
        decoded.append(sample.image_id)
        return decode(sample)

    monkeypatch.setattr(images_module, "_decode", counted)
    read(root, verify=True)
    read(root, verify=True)
    assert len(decoded) == 24
    file = root / "RSICD_images" / "pond_2.jpg"
    file.write_bytes(file.read_bytes()[:400])
    refused(root, "pond_2.jpg")
    cached = next(iter((Path(os.environ["RSOPT_CACHE"]) / "inspected").glob("*.json")))
    cached.write_text("{torn")
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
    refused(root, "captions that are not text: x.jpg (images[3].sentences[0] has no `raw` text)")


def test_a_listing_in_a_folder_of_its_own_beside_the_images(root: Path) -> None:
    expected = internal(read(root))
    (root / "original").mkdir()
    (root / "dataset_rsicd.json").rename(root / "original" / "dataset_rsicd.json")
    for path in (root, root / "original", root / "original" / "dataset_rsicd.json"):
        assert internal(read(path)) == expected


def test_a_number_of_too_many_digits(root: Path) -> None:
    (root / "dataset_rsicd.json").write_text('{"images": [' + "1" * 5000 + "]}")
    refused(root, "holds a number of too many digits")


def test_a_list_of_images_alone_is_no_nwpu(root: Path) -> None:
    edit(root, lambda content: content.pop("dataset"))
    assert read(root).format == "karpathy" and len(read(root).samples) == 24


def test_the_json_wins_over_stray_files_and_must_be_one(tmp_path: Path, items: list[Drawn], root: Path) -> None:
    expected = internal(read(root))
    write_parquet(root / "hub copy", items[:3])
    assert read(root).format == "karpathy" and internal(read(root)) == expected
    (root / "dataset_other.json").write_text((root / "dataset_rsicd.json").read_text())
    refused(root, "several listings (dataset_other.json, dataset_rsicd.json); name the file instead")
    assert internal(read(root / "dataset_rsicd.json")) == expected
