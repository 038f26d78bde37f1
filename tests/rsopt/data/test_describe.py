"""`python -m rsopt.data describe`: what is in a set, and each kind of damage, each found and counted."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsopt.cli import command
from rsopt.data.__main__ import main
from rsopt.data.generated.mini import make_mini
from rsopt.data.problems import KINDS
from tests.support.data_formats import drawn_set, write_karpathy, write_parquet


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    make_mini(folder, 3, 64)
    return folder


def described(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert command(main, ["describe", str(path), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_mini(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(mini, capsys)
    assert found["format"] == "karpathy"
    assert sum(split["images"] for split in found["splits"].values()) == 64
    assert sum(split["captions"] for split in found["splits"].values()) == 64 * 5 - 1  # one is empty, as in RSICD
    assert found["image_sizes"] == {"224x224": 64}
    assert len(found["classes"]) >= 12
    assert sum(c["images"] for c in found["classes"].values()) + found["without_class"] == 64
    assert [p["kind"] for p in found["problems"]] == ["empty_caption"]
    assert sum(found["distinct_per_image"].values()) == 64 and found["words"]["vocabulary"] > 50
    assert command(main, ["describe", str(mini)]) == 0
    table = capsys.readouterr().out
    assert "airport" in table and "224x224 (64)" in table and "empty captions" in table


def test_a_clean_parquet_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(write_parquet(tmp_path / "hub", drawn_set(tmp_path / "drawn")), capsys)
    assert found["format"] == "huggingface" and found["problems"] == []
    counts = {"listed": 4, "images": 4, "captions": 20, "distinct": 4}
    shares = {"distinct_an_image": 1.0, "in_training": 0.0, "unknown_words": pytest.approx(0.1)}
    assert found["splits"]["val"] == counts | shares
    assert found["classes"]["pond"]["images"] == 8
    command(main, ["describe", str(tmp_path / "hub")])
    assert "no problems found" in capsys.readouterr().out


def test_the_generated_set_is_one_kind_of_data(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(mini, capsys)
    assert found["val_and_test_differ"] is None
    assert found["unusual"] == {"limit_tokens": 64, "captions": 0, "share": 0.0, "garbled": [], "too_long": [], "outliers": []}
    assert found["near_identical"]["across_splits"] == 0
    assert found["class_source"] == "file names" and found["without_image"] == 0


def test_a_listing_without_images(mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = described(mini, capsys)
    (tmp_path / "bare").mkdir()
    shutil.copy(mini / "dataset_rsicd.json", tmp_path / "bare")
    for path in (tmp_path / "bare", tmp_path / "bare" / "dataset_rsicd.json"):
        found = described(path, capsys)
        assert found["without_image"] == 64 and {p["kind"] for p in found["problems"]} >= {"missing_image", "empty_split"}
        for split, values in found["splits"].items():
            assert values == whole["splits"][split] | {"images": 0}
        assert all(found[key] == whole[key] for key in ("words", "unusual", "distinct_per_image", "class_source"))
    assert command(main, ["describe", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "64 listed images are missing or broken; their captions are counted here" in shown and "near-identical" not in shown


def test_what_is_unusual_is_printed(mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "unusual"
    shutil.copytree(mini, root)
    content = json.loads((root / "dataset_rsicd.json").read_text())
    content["images"][3]["sentences"][1]["raw"] = "1" + "." * 164
    content["images"][4]["sentences"][2]["raw"] = " ".join(f"word{n}" for n in range(90))
    for image in content["images"]:
        if image["split"] == "val":
            image["sentences"] = image["sentences"][:1] * 5
        elif image["split"] == "test":
            image["sentences"] = [{"raw": f"{n} ponds are in {image['filename'][:-4]} ."} for n in range(5)]
    for number, image in enumerate(content["images"]):
        file = root / "RSICD_images" / image["filename"]
        image["filename"] = f"{number:05d}.jpg"
        file.rename(file.with_name(image["filename"]))
    again = content["images"][1] | {"filename": "again.png", "split": "val", "sentences": content["images"][1]["sentences"][:1]}
    Image.open(root / "RSICD_images" / "00001.jpg").resize((200, 200)).save(root / "RSICD_images" / "again.png")
    content["images"].append(again)
    (root / "dataset_rsicd.json").write_text(json.dumps(content))
    assert command(main, ["describe", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "00003.jpg (" in shown and "1 garbled (" in shown and "165 characters" in shown
    assert "1 longer than 64 tokens of tiny" in shown and "00004.jpg (" in shown
    assert "near-identical images: 1 pairs across splits (00001.jpg (train) and again.png (val))" in shown
    assert "classes: none known, so the blind baseline (one caption for all images) is a weak one" in shown
    assert "val and test are different kinds of data: val has 1.00 distinct captions an image" in shown


def damage(root: Path) -> dict[str, int]:
    """Break a copy of mini in every known way but one; {kind: how often}."""
    file, folder = root / "dataset_rsicd.json", root / "RSICD_images"
    content = json.loads(file.read_text())
    rows = content["images"]
    train = [r for r in rows if r["split"] == "train"]
    val = [r for r in rows if r["split"] == "val"]
    for row in train[:4]:
        (folder / row["filename"]).unlink()
    (folder / train[4]["filename"]).write_bytes((folder / train[4]["filename"]).read_bytes()[:900])
    (folder / train[5]["filename"]).write_bytes(b"")
    train[6]["sentences"] = []
    train[7]["sentences"][0]["raw"] = "  "
    train[8]["split"] = "holdout"
    train[9]["filename"] = "../secret.jpg"
    rows.append(dict(train[10], split="val"))
    rows.append(dict(train[11]))
    shutil.copy(folder / val[0]["filename"], folder / "copy_1.jpg")
    rows.append(dict(val[0], filename="copy_1.jpg", split="train"))
    Image.new("RGB", (9, 9)).save(folder / "nobody_lists_me.png")
    (folder / "notes.txt").write_text("not an image, not told")
    rows.append({"filename": None, "split": "train", "sentences": []})
    train[12]["sentences"][:2] = [{"raw": "half an emoji \ud83d"}, None]
    (root / "txtclasses_rsicd").mkdir()
    for scene in ("one", "other"):
        (root / "txtclasses_rsicd" / f"{scene}.txt").write_text(train[12]["filename"])
    for row in rows:
        row["split"] = "unseen" if row["split"] == "test" else row["split"]
    file.write_text(json.dumps(content))
    unknown = sum(r["split"] in ("unseen", "holdout") for r in rows)
    empties = 1 + sum(s["raw"] == "" for r in rows if r["split"] in ("train", "val") for s in r["sentences"] if s)
    return {
        "bad_entry": 1,
        "bad_caption": 2,
        "two_classes": 1,
        "missing_image": 4,
        "broken_image": 2,
        "no_caption": 1,
        "empty_caption": empties,
        "unknown_split": unknown,
        "unsafe_path": 1,
        "two_splits": 1,
        "listed_twice": 1,
        "same_picture": 1,
        "unused_file": 2,  # one of them lost its row to an unsafe name
        "empty_split": 1,
    }


def test_every_kind_of_damage_is_counted(mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "broken"
    shutil.copytree(mini, root)
    expected = damage(root)
    assert set(expected) == set(KINDS)
    found = {p["kind"]: p for p in described(root, capsys)["problems"]}
    assert {kind: p["count"] for kind, p in found.items()} == expected
    assert all(1 <= len(p["examples"]) <= 3 for p in found.values())
    assert found["unsafe_path"]["examples"] == ["../secret.jpg"]
    assert "nobody_lists_me.png" in found["unused_file"]["examples"]
    assert command(main, ["describe", str(root)]) == 0
    assert "refused without --skip-bad" in capsys.readouterr().out


def test_ten_thousand_images_in_a_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = drawn_set(tmp_path / "drawn")
    root = write_karpathy(tmp_path / "large", items)
    file = root / "dataset_rsicd.json"
    content = json.loads(file.read_text())
    for number in range(24, 10_921):
        row = dict(content["images"][number % 24])
        os.link(root / "RSICD_images" / row["filename"], root / "RSICD_images" / f"x_{number}.jpg")
        content["images"].append(row | {"filename": f"x_{number}.jpg"})
    file.write_text(json.dumps(content))
    start = time.monotonic()
    found = described(root, capsys)
    assert time.monotonic() - start < 60
    assert sum(split["images"] for split in found["splits"].values()) == 10_921


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(main, ["describe", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("error: data '") and "Traceback" not in told
    for arguments in (["describe"], ["paint"], ["describe", "x", "--yaml"]):
        assert command(main, arguments) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1


def test_make_mini(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        assert command(main, ["make-mini", str(folder), "--seed", "5", "--images", "20"]) == 0
    assert "20 generated images" in capsys.readouterr().out
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert len(files) == 21 and all((one / f).read_bytes() == (other / f).read_bytes() for f in files)
    assert command(main, ["make-mini", str(one)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert command(main, ["make-mini", str(tmp_path / "none"), "--images", "0"]) == 2
    assert not (tmp_path / "none").exists()
