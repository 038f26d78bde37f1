"""Scene classes: five sources, one order of precedence, and no class by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsopt.data.check import check
from rsopt.data.read import find, read
from rsopt.data.records import CaptionData
from tests.support.data_formats import Drawn, refused, write_nwpu, write_parquet

CAPTIONS = [{"raw": "a pond ."}]


def listed(folder: Path, names: list[str], dataset: str) -> Path:
    """A listing of these images, without any image."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = ("train", "val", "test")
    images = [{"filename": n, "split": splits[i % 3], "sentences": CAPTIONS} for i, n in enumerate(names)]
    file = folder / f"dataset_{dataset}.json"
    file.write_text(json.dumps({"images": images, "dataset": dataset}))
    return file


def classes(path: Path) -> tuple[dict[str, str | None], str | None]:
    checked = check(find(path))
    samples = checked.data.samples + checked.without_file
    return {s.image_id: s.scene for s in samples}, checked.data.class_source


def numbers(last: int, suffix: str = "tif") -> list[str]:
    return [f"{n}.{suffix}" for n in range(1, last + 1)]


def scene_of(data: CaptionData, image_id: str) -> str | None:
    return {s.image_id: s.scene for s in data.samples}[image_id]


def test_file_names(root: Path) -> None:
    data = read(root)
    assert data.class_source == "file names" and scene_of(data, "pond_1.jpg") == "pond"


def test_class_lists_come_before_file_names_and_know_numbered_images(root: Path) -> None:
    file = root / "dataset_rsicd.json"
    file.write_text(file.read_text().replace("bridge_1.jpg", "00001.jpg"))
    (root / "RSICD_images" / "bridge_1.jpg").rename(root / "RSICD_images" / "00001.jpg")
    assert scene_of(read(root), "00001.jpg") is None
    for folder in (root, root / "RSICD_images"):
        lists = folder / "txtclasses_rsicd"
        lists.mkdir()
        (lists / "bridge.txt").write_text("00001.jpg\r\nnot_here_5.jpg\r\n\r\n")
        (lists / "lake.txt").write_text("pond_1.jpg\n")
        data = read(root)
        assert data.class_source == "class lists and file names"
        assert scene_of(data, "00001.jpg") == "bridge" and scene_of(data, "pond_1.jpg") == "lake"
        assert scene_of(data, "pond_2.jpg") == "pond"
        (lists / "sea.txt").write_text("pond_1.jpg\n")
        assert scene_of(read(root), "pond_1.jpg") == "pond"
        assert "1 images in several class lists" in str(check(find(root)).findings.problems(["two_classes"])[0])
        for list_file in lists.iterdir():
            list_file.unlink()
        lists.rmdir()


def test_a_file_of_the_user_comes_first(root: Path) -> None:
    (root / "txtclasses_rsicd").mkdir()
    (root / "txtclasses_rsicd" / "lake.txt").write_text("pond_1.jpg\npond_2.jpg\n")
    (root / "classes.json").write_text(json.dumps({"pond_1.jpg": " my  sea "}))
    data = read(root)
    assert data.class_source == "classes.json and class lists and file names"
    assert [scene_of(data, f"pond_{n}.jpg") for n in (1, 2, 3)] == ["my sea", "lake", "pond"]


def test_the_file_of_the_user_in_other_formats(tmp_path: Path, items: list[Drawn]) -> None:
    for root in (write_parquet(tmp_path / "hub", items), write_nwpu(tmp_path / "nwpu", items)):
        (root / "classes.json").write_text(json.dumps({"pond_1.jpg": "sea"}))
        data = read(root)
        assert scene_of(data, "pond_1.jpg") == "sea" and scene_of(data, "pond_2.jpg") == "pond"
    assert data.class_source == "classes.json and NWPU's folders"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{torn", "classes.json: not JSON: "),
        ("[]", "classes.json: must be an object {file name: class}"),
        ('{"pond_1.jpg": 5}', "classes.json: the class of 'pond_1.jpg' is a number, not text; it must be text"),
        ('{"pond_1.jpg": null}', "classes.json: the class of 'pond_1.jpg' is null"),
        ('{"pond_1.jpg": " "}', "classes.json: the class of 'pond_1.jpg' is empty"),
        ('{"pond_1.jpg": "\\ud83d"}', "classes.json: the class of 'pond_1.jpg' is not Unicode"),
        ('{"\\ud83d": "pond"}', "is not Unicode"),
        ('{"pond_1.jpg": "pond", "a": "b", "c": "d"}', "classes.json: 2 names are not in the listing: a, c"),
    ],
)
def test_a_wrong_file_of_the_user(root: Path, content: str, says: str) -> None:
    (root / "classes.json").write_text(content)
    refused(root, says)


def test_ucm_by_its_numbers(tmp_path: Path) -> None:
    found, source = classes(listed(tmp_path, numbers(2100), "numbered"))
    assert source == "UCM's numbering"
    expected = {1: "agricultural", 100: "agricultural", 101: "airplane", 1000: "golfcourse"}
    expected |= {1501: "parkinglot", 2000: "storagetanks", 2001: "tenniscourt", 2100: "tenniscourt"}
    assert {n: found[f"{n}.tif"] for n in expected} == expected


def test_a_part_of_ucm_by_its_name(tmp_path: Path) -> None:
    found, source = classes(listed(tmp_path, ["5.tif", "2099.tif", "150.png"], "ucm"))
    assert source == "UCM's numbering"
    assert found == {"5.tif": "agricultural", "2099.tif": "tenniscourt", "150.png": "airplane"}


@pytest.mark.parametrize(
    ("names", "dataset"),
    [
        (numbers(613), "sydney"),
        (numbers(2099), "numbered"),
        (numbers(2101), "numbered"),
        (numbers(2101), "ucm"),
        ([*numbers(2099), "x.tif"], "ucm"),
        ([f"{n:05d}.tif" for n in range(1, 2101)], "ucm"),
        ([f"{n}.tif" for n in range(2100)], "ucm"),
    ],
)
def test_other_numbered_sets_get_no_class(tmp_path: Path, names: list[str], dataset: str) -> None:
    found, source = classes(listed(tmp_path, names, dataset))
    assert source is None and set(found.values()) == {None}


def test_class_lists_that_are_not_text(root: Path) -> None:
    (root / "txtclasses_rsicd").mkdir()
    (root / "txtclasses_rsicd" / "pond.txt").write_bytes(b"\xff\xfe")
    refused(root, "pond.txt: not UTF-8")


def test_a_classes_file_is_never_taken_for_a_listing(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps({"images": [{"filename": "x.jpg"}]}))
    refused(tmp_path, "no dataset*.json")
