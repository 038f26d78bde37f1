"""Hostile input to every command: one line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.data.__main__ import main as data_main
from rsopt.model.configs import TINY
from search import front, run
from tests.support.rsicd_folder import SPACE_START, write_rsicd

cost = import_module("rsopt.cost.__main__")
scores = import_module("rsopt.scores.__main__")
Case = Callable[[Path], tuple[Callable[[list[str] | None], int], list[str]]]
LONG = "x" * 5000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def options(*argv: str) -> Case:
    return lambda folder: (run.main, list(argv))


def named(name: str) -> Case:
    return options("--space", "pruning", "--name", name)


def space(text: str | bytes) -> Case:
    def case(folder: Path):
        (folder / "own.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return run.main, ["--space", "own.yaml"]

    return case


def data(make: Callable[[Path], object]) -> Case:
    def case(folder: Path):
        make(folder / "data")
        return run.main, ["--space", "pruning", "--data", "data"]

    return case


def entries(change: Callable[[list[dict]], object]) -> Case:
    """RSICD's JSON with its entries changed."""

    def make(folder: Path) -> None:
        path = write_rsicd(folder) / "dataset_rsicd.json"
        stored = json.loads(path.read_text())
        stored["images"] = change(stored["images"]) or stored["images"]
        path.write_text(json.dumps(stored))

    return data(make)


def raw(text: bytes) -> Case:
    """RSICD's JSON replaced by these bytes."""
    return data(lambda folder: (write_rsicd(folder) / "dataset_rsicd.json").write_bytes(text))


def image(content: bytes) -> Case:
    return data(lambda folder: (write_rsicd(folder) / "RSICD_images" / "airport_0.jpg").write_bytes(content))


def base(change: Callable[[Path], object]) -> Case:
    """The shipped base with a change."""

    def case(folder: Path):
        (folder / "base").mkdir()
        for name in ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(TINY / name, folder / "base" / name)
        change(folder / "base")
        return run.main, ["--space", "pruning", "--base", "base"]

    return case


def config(**changes: object) -> Case:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return base(change)


def study(change: Callable[[Path], object], main: Callable[[list[str] | None], int] = front.main) -> Case:
    """A damaged study's folder, resumed or shown."""

    def case(folder: Path):
        (folder / "runs" / "s").mkdir(parents=True)
        (folder / "runs" / "s" / "study.json").write_text("{}")
        change(folder / "runs" / "s")
        return main, ["--name", "s", *(["--resume"] if main is run.main else [])]

    return case


def scored(references: str, candidates: str) -> Case:
    def case(folder: Path):
        (folder / "r.json").write_text(references)
        (folder / "c.json").write_text(candidates)
        return scores.main, ["--references", "r.json", "--candidates", "c.json"]

    return case


def set_file(name: str) -> Case:
    """A data set whose first image has this file name."""
    return entries(lambda images: images[0].update(filename=name))


CASES: dict[str, Case] = {
    # names
    "name up and out": named("../x"),
    "name absolute": named("/etc/x"),
    "name with a newline": named("a\nb"),
    "name of 5,000": named(LONG),
    "name in HTML": named("<script>alert(1)</script>"),
    "name in another script": named("поиск"),
    "name of a flag": named("-rf"),
    "name empty": named(""),
    "name of dots": named(".."),
    "name with a NUL": named("a\0b"),
    "name with a quote": named("a'b"),
    "name up and out resumed": options("--resume", "--name", "../x"),
    "name up and out shown": lambda folder: (front.main, ["--name", "../x"]),
    # options
    "trials negative": options("--space", "pruning", "--trials", "-1"),
    "trials in words": options("--space", "pruning", "--trials", "1e3"),
    "trials of nothing": options("--space", "pruning", "--trials", ""),
    "seed negative": options("--space", "pruning", "--seed", "-1"),
    "GPU share NaN": options("--space", "pruning", "--gpus-per-trial", "nan"),
    "GPU share infinite": options("--space", "pruning", "--gpus-per-trial", "inf"),
    "GPU share none": options("--space", "pruning", "--gpus-per-trial", "0"),
    "space in HTML": options("--space", "<b>pruning</b>"),
    "space of 5,000": options("--space", LONG),
    "space with a NUL": options("--space", "a\0.yaml"),
    "space a folder": options("--space", "."),
    "base with a NUL": options("--space", "pruning", "--base", "a\0b"),
    "base of 5,000": options("--space", "pruning", "--base", LONG),
    "base up and out": options("--space", "pruning", "--base", "../../nothing"),
    "base in HTML": options("--space", "pruning", "--base", "<img src=x>"),
    "data with a NUL": options("--space", "pruning", "--data", "a\0b"),
    "data of 5,000": options("--space", "pruning", "--data", LONG),
    "tracking a file": options("--space", "pruning", "--tracking-uri", "file:///tmp/x"),
    "tracking without a host": options("--space", "pruning", "--tracking-uri", "http://"),
    "tracking a bad port": options("--space", "pruning", "--tracking-uri", "http://127.0.0.1:99999"),
    "tracking with a newline": options("--space", "pruning", "--tracking-uri", "http://a\nb"),
    "storage with a NUL": options("--space", "pruning", "--storage", "a\0b"),
    "storage of 5,000": options("--space", "pruning", "--storage", LONG),
    "storage of another kind": options("--space", "pruning", "--storage", "gs://bucket/x"),
    "storage with a secret": options("--space", "pruning", "--storage", "s3://AKIA:hush-hush@bucket/x"),
    "storage with a query": options("--space", "pruning", "--storage", "s3://bucket/x?secret_key=hush-hush"),
    "storage up and out": options("--space", "pruning", "--storage", "s3://bucket/../x"),
    "storage without a bucket": options("--space", "pruning", "--storage", "s3:///x"),
    "storage in HTML": lambda folder: (front.main, ["--name", "s", "--storage", "s3://bucket/<b>x"]),
    "ledger a folder": options("--space", "pruning", "--latency-ledger", "."),
    # spaces
    "space binary": space(bytes(range(256))),
    "space empty": space(""),
    "space a list": space("[1, 2]"),
    "space with an object": space("!!python/object/apply:os.system ['touch pwned']\n"),
    "space a bomb": space(BOMB),
    "space nested": space("[" * 3000),
    "space of two documents": space("--- {}\n--- {}\n"),
    "space named up and out": space("name: ../x\nobjectives: [cider, params]\nparameters: {lora: llm}\n"),
    "space named in 5,000": space(f"name: {LONG}\nobjectives: [cider, params]\nparameters: {{lora: llm}}\n"),
    "space of infinities": space(SPACE_START + "  lr: {float: [1.0e-4, .inf]}\n"),
    "space of negatives": space(SPACE_START + "  lr: {float: [-1, 1], log: true}\n"),
    "space of huge trials": space(SPACE_START + "  lora: llm\ntrials: 1e400\n"),
    "space reversed": space(SPACE_START + "  llm_layers: {layers: [8, 2]}\n"),
    "space without parameters": space("name: own\nobjectives: [cider, params]\n"),
    "objectives twice": space("name: own\nobjectives: [cider, cider]\nparameters: {lora: llm}\n"),
    "objectives of code": space("name: own\nobjectives: ['__import__(\"os\")', params]\nparameters: {lora: llm}\n"),
    "rungs backwards": space(SPACE_START + "  lora: llm\nrungs: [1.0, 0.5]\n"),
    "a key in 5,000": space(SPACE_START + f"  {LONG}: 1\n"),
    # data sets
    "JSON cut": raw(b'{"images": [{"filename"'),
    "JSON binary": raw(bytes(range(256))),
    "JSON nested": raw(b"[" * 100_000),
    "JSON a number": raw(b"7"),
    "images a string": raw(b'{"images": "all"}'),
    "images of numbers": raw(b'{"images": [1, 2, 3]}'),
    "images null": raw(b'{"images": null}'),
    "file name up and out": set_file("../../../etc/passwd"),
    "file name absolute": set_file("/etc/passwd"),
    "file name with a NUL": set_file("a\0.jpg"),
    "file name of 5,000": set_file(LONG + ".jpg"),
    "file name a number": set_file(7),  # type: ignore[arg-type]
    "file name empty": set_file(""),
    "sentences a number": entries(lambda images: images[0].update(sentences=7)),
    "a sentence of null": entries(lambda images: images[0].update(sentences=[{"raw": None}])),
    "a split unknown": entries(lambda images: [e.update(split="everything") for e in images] and None),
    "a split of a list": entries(lambda images: images[0].update(split=["train"])),
    "an image in two splits": entries(lambda images: [*images, images[0] | {"split": "val"}]),
    "an image of text": image(b"not an image"),
    "an image cut": image(b"\xff\xd8\xff\xe0\x00\x10JFIF"),
    "an image empty": image(b""),
    "an image of HTML": image(b"<svg onload=alert(1)>"),
    "a data set of links": data(lambda f: (f.mkdir(), (f / "dataset_rsicd.json").symlink_to("/etc/passwd"))),
    "a data set described": lambda folder: (data_main, ["describe", "a\0b"]),
    "a parquet of text": data(lambda f: (f.mkdir(), (f / "train-0.parquet").write_bytes(b"PAR1 not"))),
    # bases
    "config cut": base(lambda f: (f / "config.json").write_text("{")),
    "config a list": base(lambda f: (f / "config.json").write_text("[]")),
    "config of another kind": config(model_type="bert"),
    "config with remote code": config(auto_map={"AutoConfig": "evil.Config"}, model_type="evil"),
    "config of text": config(text_config="opt"),
    "config of negatives": config(qformer_config={"num_hidden_layers": -1}),
    "config of another LLM": config(text_config={"model_type": "t5"}),
    # studies
    "study empty": study(lambda f: None),
    "study empty, resumed": study(lambda f: None, run.main),
    "study of text": study(lambda f: (f / "study.json").write_text("not JSON"), run.main),
    "study a list": study(lambda f: (f / "study.json").write_text("[]"), run.main),
    "study binary": study(lambda f: (f / "study.json").write_bytes(bytes(range(256))), run.main),
    "a front of text": study(lambda f: (f / "front.json").write_text("<html>")),
    "a front without a study": lambda folder: (front.main, ["--name", "s", "--storage", "a\0b"]),
    # scores and costs
    "references a list": scored("[]", '{"a": "b"}'),
    "references of numbers": scored('{"a": [1]}', '{"a": "b"}'),
    "candidates cut": scored('{"a": ["b"]}', '{"a": '),
    "references of null": scored('{"a": ["b", null]}', '{"a": "b"}'),
    "references with half an emoji": scored('{"a": ["b \\ud83d"]}', '{"a": "b"}'),
    "image id of half an emoji": scored('{"\\ud83d": ["b"]}', '{"\\ud83d": "b"}'),
    "candidates of null": scored('{"a": ["b"]}', '{"a": null}'),
    "candidates with half an emoji": scored('{"a": ["b"]}', '{"a": "b \\ud83d"}'),
    "candidates named in half an emoji": scored('{"a": ["b"]}', '{"a": "b", "\\ud83d": "b"}'),
    "candidates of lists": scored('{"a": ["b"]}', '{"a": ["b"]}'),
    "candidates of others": scored('{"a": ["b"]}', '{"z": "b"}'),
    "cost of too many": lambda folder: (cost.main, ["--base", "tiny", "--llm-layers", "99999999999999999999"]),
    "cost of none": lambda folder: (cost.main, ["--base", "tiny", "--llm-layers", "0"]),
    "cost of a NUL": lambda folder: (cost.main, ["--base", "a\0b"]),
}


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("references of numbers", "r.json: reference [0] of 'a' is a number, not text"),
        ("references of null", "r.json: reference [1] of 'a' is null"),
        ("references with half an emoji", "r.json: reference [0] of 'a' is not Unicode: it holds half of a character, \\ud83d"),
        ("image id of half an emoji", "r.json: the image id '\\ud83d' is not Unicode"),
        ("candidates of null", "c.json: the caption of 'a' is null"),
        ("candidates with half an emoji", "c.json: the caption of 'a' is not Unicode"),
        ("candidates named in half an emoji", "c.json: the image id '\\ud83d' is not Unicode"),
    ],
)
def test_captions_that_are_not_text_are_named(
    case: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main, argv = CASES[case](tmp_path)
    assert command(main, argv) == 2
    assert says in capsys.readouterr().err


def test_there_are_at_least_60_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    main, argv = CASES[case](inside)
    monkeypatch.setattr("search.session.start.drive", lambda *_: pytest.fail("accepted"))
    before = {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    assert command(main, argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert "hush" not in err
    assert (len(err) < 1000 and "<script" not in err) or case.endswith("HTML"), err[:300]
    assert {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))} == before
    assert not os.path.lexists("pwned")
