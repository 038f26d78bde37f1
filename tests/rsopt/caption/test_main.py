"""python -m rsopt.caption: files, folders and lists; a broken picture costs itself and nothing else."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from rsopt import tiny
from rsopt.caption.__main__ import beams_of, main
from rsopt.caption.captioner import caption_samples
from rsopt.cli import command
from rsopt.core.inference import BEAMS
from rsopt.data.records import Sample
from rsopt.model.base import load_base


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(3):
        Image.new("RGB", (64, 64), (20, 60 + 60 * n, 30)).save(folder / f"p {n}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_gives_one_line_a_picture_and_the_speed(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(main, ["--model", "tiny", "--batch", "2", str(pictures)]) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [Path(path).name for path, _ in lines] == ["p 0.png", "p 1.png", "p 2.png"]
    assert all(caption for _, caption in lines)
    assert "3 images in" in err and "images/s" in err


def test_an_export_is_captioned_with_the_beams_it_was_measured_with(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "knee"
    shutil.copytree(Path(tiny.__file__).parent, folder)
    assert beams_of(folder) == BEAMS
    (folder / "manifest.json").write_text(json.dumps({"protocol": {"beams": 1}}))
    assert command(main, ["--model", str(folder), "--json", str(pictures)]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    base = load_base(str(folder))
    asked = [Sample(line["image"], "", (), path=Path(line["image"])) for line in said]
    assert {line["image"]: line["caption"] for line in said} == caption_samples(base.model, base, asked, beams=1)


def test_a_list_on_stdin_with_a_broken_picture(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((pictures / "p 0.png").read_bytes()[:40])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{pictures / 'p 1.png'}\n{broken}\n\n{tmp_path / 'gone.png'}\n"))
    assert command(main, ["--model", "tiny", "--json", "-"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["image"] for line in out.splitlines()] == [str(pictures / "p 1.png")]
    assert "broken.png" in err and "gone.png" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--model", "tiny", "gone.jpg"], "no such image: 'gone.jpg'"),
        (["--model", "tiny", "EMPTY"], "holds no picture"),
        (["--model", "nowhere", "PICTURES"], "no base 'nowhere'"),
        (["--model", "tiny", "--batch", "0", "PICTURES"], "--batch"),
        (["--model", "ADAPTER", "PICTURES"], "an adapter alone"),
    ],
)
def test_wrong_use_is_one_line(
    argv: list[str], says: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("EMPTY", "ADAPTER"):
        (tmp_path / name).mkdir()
    (tmp_path / "ADAPTER" / "adapter_config.json").write_text("{}")
    places = {"PICTURES": str(pictures)} | {name: str(tmp_path / name) for name in ("EMPTY", "ADAPTER")}
    assert command(main, [places.get(word, word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert says in err
