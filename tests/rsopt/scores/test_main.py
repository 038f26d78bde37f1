"""`python -m rsopt.scores`, and the places it must work in: other locales, odd paths, read-only packages, two at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pycocoevalcap
import pytest

from rsopt.cli import command
from rsopt.scores.__main__ import METRICS, main, score
from rsopt.scores.scorer import Scorer
from tests.support.caption_corpus import corpus

PACKAGE = Path(next(iter(pycocoevalcap.__path__)))


def write(folder: Path, references: Any, candidates: Any) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "r.json").write_text(json.dumps(references))
    (folder / "c.json").write_text(json.dumps(candidates))
    return ["--references", str(folder / "r.json"), "--candidates", str(folder / "c.json")]


def test_json_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write(tmp_path, *corpus(60))
    assert command(main, [*arguments, "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    names = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider"]
    assert list(found) == [*names, "baselines", "images", "intervals"] and found["images"] == 60
    assert all(low < found[name] < high for name, (low, high) in found["intervals"].items())
    assert all(0 < score["coverage"] <= 1 for score in found["baselines"].values())
    assert "people" in found["baselines"] and "not from training captions" not in shown.out
    assert "from the other references of these images" in shown.err
    assert command(main, [*arguments, "--no-meteor"]) == 0
    shown = capsys.readouterr()
    assert "CIDEr of blind_class_from_references" in shown.out and "METEOR" not in shown.out and "BLEU-4" in shown.out


def test_degenerate_sets_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ({"a.jpg": ["a pond .", "a lake ."]}, {"a.jpg": "a pond ."})
    shared = ({f"{n}.jpg": ["a pond .", "trees"] for n in range(4)}, {f"{n}.jpg": "a pond ." for n in range(4)})
    for (references, candidates), why in ((one, "there is one image"), (shared, "all images share their references")):
        found, notes = score(references, candidates, meteor=False)
        assert found["cider"] == 0.0 and found["bleu_1"] > 99 and "baselines" not in found
        assert f"CIDEr is 0 for any captions: {why}" in notes[0]
        assert command(main, [*write(tmp_path, references, candidates), "--no-meteor"]) == 0
        assert why in capsys.readouterr().err


def test_less_than_a_blind_baseline_is_said() -> None:
    references = {f"{kind}_{n}.jpg": [f"a {kind} is here .", f"number {n} ."] for kind in ("pond", "port") for n in (1, 2)}
    found, notes = score(references, dict.fromkeys(references, "zebra"), meteor=False)
    assert found["baselines"]["blind_class_from_references"]["cider"] > 0
    assert any("score less than blind_class_from_references" in note for note in notes)


@pytest.mark.parametrize(
    ("references", "candidates", "words"),
    [
        ({"a": ["x"], "b": ["y"]}, {"a": "x"}, "1 images have no candidate caption: b"),
        ({"a": ["x"]}, {"a": "x", "z": "y"}, "1 candidates belong to no image: z"),
        ({"a": ["x"]}, {"a": ["x"]}, "the caption of 'a' is a list, not text"),
        ({"a": ["x"]}, {"a": None}, "the caption of 'a' is null"),
        ({"a": []}, {"a": "x"}, "references of 'a' must be a list with at least one caption"),
        ({"a": "x"}, {"a": "x"}, "references of 'a' must be a list with at least one caption"),
        ({"a": [3]}, {"a": "x"}, "reference [0] of 'a' is a number, not text"),
        ({}, {}, "at least one image"),
        ([], {}, "must be an object"),
        ({"a": ["x"]}, ["x"], "must be an object"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], references: Any, candidates: Any, words: str
) -> None:
    assert command(main, write(tmp_path, references, candidates)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and words in told and told.count("\n") == 1


def test_files_that_are_not_there_or_not_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write(tmp_path, {"a": ["x"]}, {"a": "x"})
    (tmp_path / "c.json").write_text("{'a': 1}")
    assert command(main, arguments) == 2
    assert "not JSON" in capsys.readouterr().err
    (tmp_path / "c.json").unlink()
    assert command(main, arguments) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_candidates_with_every_oddity_score(tmp_path: Path) -> None:
    references, candidates = corpus(12)
    odd = ["", "\n", "\t a", '"', "é 東京 😀", "x" * 10_000, "\r\n\u2028\x0b\x0c\x85 pond", "|||", "\x00", "\ud800"]
    for image_id, text in zip(list(candidates), odd, strict=False):
        candidates[image_id] = text
    found, _ = score(references, candidates)
    assert all(0 <= found[name] <= 1000 for name in METRICS)


def test_comma_locale_space_in_the_path_and_nothing_written_beside_the_jars(tmp_path: Path) -> None:
    """One run of the command in all of it at once, equal to a plain one."""
    copy = tmp_path / "site packages" / "pycocoevalcap"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("spice-*", "lib", "*.pyc", "__pycache__"))
    for folder in [copy, *[p for p in copy.rglob("*") if p.is_dir()]]:
        folder.chmod(0o555)
    before = sorted(copy.rglob("*"))
    temporary = tmp_path / "temp orary"
    temporary.mkdir()
    env = os.environ | {
        "PYTHONPATH": f"{copy.parent}{os.pathsep}{Path.cwd()}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAVA_TOOL_OPTIONS": "-Duser.language=tr -Duser.country=TR -Dfile.encoding=ISO-8859-9",
        "LC_ALL": "tr_TR.UTF-8",
        "TMPDIR": str(temporary),
        "RSOPT_CACHE": str(tmp_path / "ca che"),
    }
    references, candidates = corpus(30, seed=2)
    first = next(iter(references))
    references[first], candidates[first] = ["In front of IT is a big house ."] * 5, "Before IT there is a large house ."
    arguments = write(tmp_path / "an input", references, candidates)
    run = subprocess.run([sys.executable, "-m", "rsopt.scores", *arguments, "--json"], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == score(references, candidates)[0]
    assert sorted(copy.rglob("*")) == before and not list(temporary.iterdir())
    for folder in [copy, *[p for p in copy.rglob("*") if p.is_dir()]]:
        folder.chmod(0o755)


def test_two_processes_at_once_agree(tmp_path: Path) -> None:
    arguments = [*write(tmp_path, *corpus(80, seed=3)), "--json", "--no-meteor"]
    runs = [
        subprocess.Popen([sys.executable, "-m", "rsopt.scores", *arguments], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0] and answers[0] == answers[1]
    kept = list((tmp_path / "cache" / "tokens").glob("*.json"))
    assert len(kept) == 1  # tokenised once, read by the other


def test_java_that_cannot_start_is_exit_1(tmp_path: Path) -> None:
    """An option that Java does not know: it dies at once, and at the restart."""
    code = (
        "import sys\nimport rsopt.scores.java_process as j\nj._OPTIONS = ('-XX:NoSuchThing',)\n"
        "from rsopt.cli import command\nfrom rsopt.scores.__main__ import main\nsys.exit(command(main, sys.argv[1:]))"
    )
    arguments = write(tmp_path, {"a": ["x"]}, {"a": "x"})
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith("error: PTB tokenizer (Java) failed twice")
    assert run.stderr.count("\n") == 1


def small_data(folder: Path) -> Path:
    """A listing without image files: training and validation images of two classes."""
    folder.mkdir()
    captions = {"pond_1": "a green pond .", "pond_2": "a green pond .", "port_1": "boats in a port .", "00009": "a field ."}
    captions |= {"pond_3": "a small pond .", "port_2": "white boats in a port .", "port_3": "a long pier ."}
    entries = [
        {
            "filename": f"{name}.jpg",
            "split": "val" if name in ("pond_3", "port_2", "port_3") else "train",
            "sentences": [{"raw": text}, {"raw": text}],
        }
        for name, text in captions.items()
    ]
    (folder / "dataset.json").write_text(json.dumps({"images": entries, "dataset": "own"}))
    return folder / "dataset.json"


def test_baselines_from_a_data_set_are_those_of_its_training_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing = small_data(tmp_path / "data")
    references = {"port_3.jpg": ["a long pier ."], "pond_3.jpg": ["a small pond ."], "port_2.jpg": ["white boats in a port ."]}
    arguments = [
        *write(tmp_path, references, dict.fromkeys(references, "zebra")),
        "--no-meteor",
        "--json",
        "--data",
        str(listing),
    ]
    assert command(main, arguments) == 0
    shown = capsys.readouterr()
    scorer = Scorer(references)
    answers = {"port_3.jpg": "boats in a port .", "pond_3.jpg": "a green pond .", "port_2.jpg": "boats in a port ."}
    assert json.loads(shown.out)["baselines"] == {
        "blind_class": {"cider": scorer.cider(answers).corpus, "coverage": 1.0},
        "blind": {"cider": scorer.cider(dict.fromkeys(references, "a green pond .")).corpus, "coverage": 1.0},
    }
    assert "nearest_image is left out" in shown.err and "score less than blind_class" in shown.err
    for image, says in (
        ("pond_1.jpg", "1 images of the references are in its training split"),
        ("x.jpg", "are not in it: x.jpg"),
    ):
        asked = write(tmp_path, references | {image: ["a pond ."]}, dict.fromkeys([*references, image], "zebra"))
        assert command(main, [*asked, "--no-meteor", "--data", str(listing)]) == 2
        assert says in capsys.readouterr().err
