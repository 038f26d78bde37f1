"""A base from the user's own pictures: what it learns, that a killed run goes on to the same weights, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from transformers import AutoProcessor, Blip2ForConditionalGeneration

from rsopt.cli import command
from rsopt.data.read import read
from rsopt.model.base import load_base
from rsopt.pretrain.__main__ import main
from rsopt.pretrain.model import make_processor, train_tokenizer
from rsopt.pretrain.pictures import Pictures
from rsopt.pretrain.word_heads import Vocabulary, WordHeads
from tests.support.data_formats import drawn_set, write_karpathy
from tests.support.rsicd_folder import write_rsicd

SCALE = "0.002"  # a few steps of each stage


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 24 pictures in three classes."""
    folder = tmp_path_factory.mktemp("data")
    return write_karpathy(folder / "set", drawn_set(folder / "drawn"))


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that was pretrained in one go."""
    out = tmp_path_factory.mktemp("base") / "base"
    assert main(["--data", str(data), "--out", str(out), "--scale", SCALE]) == 0
    return out


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_base(str(folder)).model.state_dict())


def test_the_base_loads_and_its_tokenizer_knows_the_words(undisturbed: Path) -> None:
    _, info = Blip2ForConditionalGeneration.from_pretrained(undisturbed, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values())
    assert AutoProcessor.from_pretrained(undisturbed).num_query_tokens == 16
    base = load_base(str(undisturbed))
    assert base.shape == load_base("tiny").shape
    assert [base.tokenizer.decode(i).strip() for i in base.tokenizer(" a green pond near trees")["input_ids"][1:]] == [
        "a", "green", "pond", "near", "trees",
    ]  # fmt: skip
    assert not (undisturbed / "checkpoints").exists()


def test_a_killed_run_continues_and_ends_with_the_same_weights(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rsopt.pretrain", "--data", str(data), "--out", str(tmp_path / "base"), "--scale", SCALE]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        assert any("see" in line for line in process.stdout)  # look and see are done, tell is not
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert not psutil.wait_procs(children, timeout=60)[1]  # the language model's process ends too
    assert not (tmp_path / "base/config.json").exists()
    again = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "look: done before" in again and "see: done before" in again and "next: python -m search.run" in again
    before, after = _weights(undisturbed), _weights(tmp_path / "base")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_data_or_seed_is_not_mixed_into_checkpoints(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base/checkpoints").mkdir(parents=True)
    (tmp_path / "base/checkpoints/made_for.json").write_text('{"data": "0", "seed": 0, "scale": 0.002}')
    assert command(main, ["--data", str(data), "--out", str(tmp_path / "base"), "--seed", "1", "--scale", SCALE]) == 2
    assert "other data, seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--data", "{data}", "--out", "{data}"], "exists and is not an unfinished pretraining"),
        (["--data", "{data}", "--out", "{tmp}/base", "--keep", "{tmp}/keep"], "--keep is for generated pictures"),
        (["--out", "{tmp}/base", "--skip-bad"], "--skip-bad needs --data"),
        (["--data", "{tmp}/none", "--out", "{tmp}/base"], "no such folder"),
    ],
)
def test_bad_input_is_refused_and_writes_nothing(
    words: list[str], why: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(main, [word.format(data=data, tmp=tmp_path) for word in words]) == 2
    assert why in (lines := capsys.readouterr().err) and lines.count("\n") == 1
    assert not (tmp_path / "base").exists()


def test_two_pictures_without_class_are_enough(tmp_path: Path) -> None:
    folder = write_rsicd(tmp_path / "set", splits=("train", "train", "val", "test"))
    for file in sorted((folder / "RSICD_images").iterdir()):
        file.rename(file.with_name(file.name.replace("airport_", "picture")))
    listing = folder / "dataset_rsicd.json"
    listing.write_text(listing.read_text().replace("airport_", "picture"))
    assert main(["--data", str(folder), "--out", str(tmp_path / "base"), "--scale", "0.0001"]) == 0
    assert load_base(str(tmp_path / "base")).shape == load_base("tiny").shape


def test_words_and_classes_to_learn(data: Path) -> None:
    samples = read(data).split("train")
    vocabulary = Vocabulary.of(samples)
    assert vocabulary.classes == ("bridge", "parking", "pond")
    assert "a" not in vocabulary.words  # in all pictures: tells nothing
    labels = vocabulary.labels(samples)
    for row, sample in enumerate(samples):
        for column, word in enumerate(vocabulary.words):
            share = np.mean([word in reference.split() for reference in sample.references])
            assert labels.words[row, column].item() == pytest.approx(share)
        assert vocabulary.classes[labels.classes[row]] == sample.scene


def test_heads_learn_nothing_from_unknown_classes(data: Path) -> None:
    samples = read(data).split("train")
    vocabulary = Vocabulary.of(samples)
    heads, labels = WordHeads(vocabulary, 8, 4, 2), vocabulary.labels(samples)
    labels.classes[:] = -1
    heads.patch_loss(torch.randn(len(samples), 3, 8), labels).backward()
    assert heads.patches.weight.grad is not None
    assert not heads.patches.weight.grad[heads.words :].any() and heads.patches.weight.grad[: heads.words].any()


def test_a_plain_view_is_what_the_processor_makes(data: Path) -> None:
    samples = read(data).split("train")
    pictures, processor = Pictures.read(samples), make_processor(train_tokenizer(["a pond"] * 4))
    from rsopt.data.images import open_image

    expected = processor.image_processor([open_image(s) for s in samples], return_tensors="pt")["pixel_values"]
    plain = pictures.plain(range(len(samples)))
    assert plain.shape == expected.shape
    assert (plain - expected).abs().mean() < 0.1  # in units of a standard deviation; the pictures are shrunk in two steps


def test_views_differ_but_repeat_with_the_seed(data: Path) -> None:
    pictures = Pictures.read(read(data).split("train"))
    torch.manual_seed(3)
    one, two = pictures.augmented([0, 1]), pictures.augmented([0, 1])
    torch.manual_seed(3)
    assert torch.equal(one, pictures.augmented([0, 1])) and not torch.equal(one, two)
    assert one.shape == (2, 3, 64, 64) and one.isfinite().all()
