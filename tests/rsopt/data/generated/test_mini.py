"""The generated data set: RSICD's layout, its statistics, determinism, and safe creation."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsopt.data.generated.mini import IMAGES, make_mini, mini_folder
from rsopt.data.generated.scenes import SCENES

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def rows(mini: Path) -> Rows:
    return json.loads((mini / "dataset_rsicd.json").read_text())["images"]


def test_layout_is_rsicds(mini: Path, rows: Rows) -> None:
    assert json.loads((mini / "dataset_rsicd.json").read_text())["dataset"] == "rsicd-mini"
    assert len(rows) == IMAGES == len(list((mini / "RSICD_images").iterdir()))
    for row in rows:
        assert set(row) == {"filename", "imgid", "split", "sentids", "sentences"}
        assert [s["sentid"] for s in row["sentences"]] == row["sentids"]
        assert len(row["sentences"]) == 5
        for sentence in row["sentences"]:
            assert set(sentence) == {"tokens", "raw", "imgid", "sentid"}
            assert sentence["imgid"] == row["imgid"]
            assert sentence["tokens"] == sentence["raw"].removesuffix(".").split()
    with Image.open(mini / "RSICD_images" / rows[0]["filename"]) as image:
        assert image.size == (224, 224)
        assert image.format == "JPEG"


def test_ids_are_unique(rows: Rows) -> None:
    assert len({r["imgid"] for r in rows}) == len({r["filename"] for r in rows}) == len(rows)
    assert len({i for r in rows for i in r["sentids"]}) == 5 * len(rows)


def test_splits_are_80_10_10_by_class(rows: Rows) -> None:
    total = Counter(r["split"] for r in rows)
    assert total == {"train": 0.8 * len(rows), "val": 0.1 * len(rows), "test": 0.1 * len(rows)}
    for number, scene in enumerate(SCENES):
        of_class = Counter(r["split"] for r in rows if r["imgid"] % len(SCENES) == number)
        assert of_class == {"train": 48, "val": 6, "test": 6}, scene


def test_names_give_the_class_of_most_images(rows: Rows) -> None:
    assert len(SCENES) >= 12
    classless = [r for r in rows if "_" not in r["filename"]]
    assert 0.04 < len(classless) / len(rows) < 0.14
    assert {r["filename"].split("_")[0] for r in rows if r not in classless} == set(SCENES)


def test_captions_follow_rsicds_statistics(rows: Rows) -> None:
    distinct = [{s["raw"] for s in r["sentences"]} for r in rows]
    shares = [Counter(map(len, distinct))[k] / len(rows) for k in range(1, 6)]
    assert shares == pytest.approx([0.44, 0.15, 0.20, 0.14, 0.07], abs=0.04)
    captions = [c for texts in distinct for c in texts]
    lengths = [len(c.split()) - 1 for c in captions if c]
    assert 10 < sum(lengths) / len(lengths) < 13
    assert max(lengths) <= 34
    assert captions.count("") == 1
    assert all(c == c.lower() and c.endswith(" .") for c in captions if c)
    assert 0.005 < sum("  " in c for c in captions) / len(captions) < 0.04


def test_captions_depend_on_the_picture_not_only_on_the_class(rows: Rows) -> None:
    for scene in SCENES:
        captions = [r["sentences"][0]["raw"] for r in rows if r["filename"].startswith(f"{scene}_")]
        assert Counter(captions).most_common(1)[0][1] < 0.25 * len(captions), scene


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (make_mini(tmp_path / n, seed, 32) for n, seed in (("a", 3), ("b", 3), ("c", 4)))
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) == 33
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    name = "dataset_rsicd.json"
    assert (first / name).read_bytes() != (other / name).read_bytes()


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few, many = make_mini(tmp_path / "few", 0, 16), make_mini(tmp_path / "many", 0, 48)
    for path in (few / "RSICD_images").iterdir():
        assert path.read_bytes() == (many / "RSICD_images" / path.name).read_bytes()


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images"):
        make_mini(tmp_path, images=0)


def _ask(_: int) -> str:
    return str(mini_folder(seed=5, images=16))


def test_two_processes_may_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = set(pool.map(_ask, range(4), chunksize=1))
    assert len(folders) == 1
    folder = Path(folders.pop())
    assert len(json.loads((folder / "dataset_rsicd.json").read_text())["images"]) == 16
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [folder.name]  # nothing half-made is left


def test_a_folder_without_its_json_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path))
    folder = mini_folder(images=16)
    (folder / "dataset_rsicd.json").unlink()
    assert mini_folder(images=16) == folder
    assert (folder / "dataset_rsicd.json").is_file()
