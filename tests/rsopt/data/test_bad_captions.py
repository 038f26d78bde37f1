"""Captions that are not text, in every format: named with image and place, refused, and left out with `--skip-bad`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rsopt.common.text import text_fault
from rsopt.data.read import read
from rsopt.errors import UserError
from tests.support.data_formats import Drawn, refused, write_karpathy, write_nwpu, write_parquet, write_saved
from tests.support.rsicd_folder import write_rsicd

HALF = "half an emoji \ud83d"
NOT_UTF8 = b"half an emoji \xed\xa0\xbd"


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        ({"raw": HALF}, "images[0].sentences[1].raw is not Unicode: it holds half of a character, \\ud83d"),
        ({"raw": None}, "images[0].sentences[1].raw is null"),
        ({"raw": 5, "tokens": ["a", "pond"]}, "images[0].sentences[1].raw is a number, not text"),
        ({"tokens": ["a", 5]}, "images[0].sentences[1].tokens[1] is a number, not text"),
        ({"tokens": ["a", HALF]}, "images[0].sentences[1].tokens[1] is not Unicode"),
        ({"tokens": "a pond"}, "images[0].sentences[1] has no `raw` text"),
        ("a pond .", "images[0].sentences[1] is plain text, not an object with `raw`"),
        (None, "images[0].sentences[1] is null"),
        (7, "images[0].sentences[1] is a number, not text"),
        (["a pond ."], "images[0].sentences[1] is a list, not text"),
    ],
)
def test_one_bad_caption_among_many(root: Path, sentence: Any, says: str) -> None:
    edit(root / "dataset_rsicd.json", lambda c: c["images"][0]["sentences"].__setitem__(1, sentence))
    refused(root, f"1 captions that are not text: pond_1.jpg ({says}", "--skip-bad")
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"bad_caption": 1}
    assert {s.image_id: len(s.references) for s in kept.samples}["pond_1.jpg"] == 4
    assert not any(text_fault(c.text) for s in kept.samples for c in s.captions)


@pytest.mark.parametrize("sentences", [None, 5, "a pond .", {"raw": "a pond ."}])
def test_an_image_whose_captions_are_no_list_is_left_out(root: Path, sentences: Any) -> None:
    edit(root / "dataset_rsicd.json", lambda c: c["images"][0].update(sentences=sentences))
    refused(root, "pond_1.jpg (images[0].sentences is not a list)", "1 images without a caption: pond_1.jpg")
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"bad_caption": 1, "no_caption": 1} and len(kept.samples) == 23


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (None, "images[24] is not an object"),
        (["pond_1.jpg"], "images[24] is not an object"),
        ({"split": "train"}, "images[24] has no `filename`"),
        ({"filename": None, "split": "train"}, "images[24].filename is null"),
        ({"filename": HALF, "split": "train"}, "images[24].filename is not Unicode"),
        ({"filename": "x.jpg", "split": 1}, "images[24].split is a number"),
        ({"filename": "x.jpg", "split": "train", "filepath": 3}, "images[24].filepath is a number"),
    ],
)
def test_a_bad_entry(root: Path, entry: Any, says: str) -> None:
    edit(root / "dataset_rsicd.json", lambda c: c["images"].append(entry))
    refused(root, f"1 entries without a usable file name or split: {says}", "--skip-bad")
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"bad_entry": 1} and len(kept.samples) == 24


def test_nwpu(tmp_path: Path, items: list[Drawn]) -> None:
    root = write_nwpu(tmp_path / "nwpu", items)

    def change(content: dict[str, list[Any]]) -> None:
        content["pond"][0]["raw_1"] = None
        content["pond"][1]["raw"] = HALF
        content["bridge"] += [None, {"filename": 5, "raw": "a bridge ."}]

    edit(root / "dataset_nwpu.json", change)
    refused(
        root,
        "2 captions that are not text: pond_1.jpg (pond[0].raw_1 is null), pond_2.jpg (pond[1].raw is not Unicode",
        "2 entries without a usable file name or split: bridge[8] has no `filename`, bridge[9].filename is a number",
    )
    kept = read(root, skip_bad=True)
    assert kept.skipped == {"bad_entry": 2, "bad_caption": 2} and len(kept.samples) == 24


def with_bytes(table: pa.Table, captions: list[list[bytes | None]], names: list[bytes | None]) -> pa.Table:
    """The table with captions and file names of these bytes, which pyarrow does not look at when it takes them for text."""
    texts = pa.array([c for of_image in captions for c in of_image], pa.binary()).view(pa.string())
    offsets = [0]
    for of_image in captions:
        offsets.append(offsets[-1] + len(of_image))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)
    table = table.set_column(table.column_names.index("captions"), "captions", lists)
    return table.set_column(table.column_names.index("filename"), "filename", pa.array(names, pa.binary()).view(pa.string()))


def damaged(table: pa.Table) -> pa.Table:
    """Three bad captions in the first image, and a bad file name in the third."""
    captions = [[t.encode() for t in texts] for texts in table["captions"].to_pylist()]
    names: list[bytes | None] = [name.encode() for name in table["filename"].to_pylist()]
    captions[0][1:4] = [NOT_UTF8, None, b"\xff"]
    names[2] = NOT_UTF8
    return with_bytes(table, captions, names)


def check_damaged(path: Path, file: str) -> None:
    refused(
        path,
        f"3 captions that are not text: pond_1.jpg ({file}: row 0: captions[1] is not Unicode",
        f"{file}: row 0: captions[2] is null",
        f"1 entries without a usable file name or split: {file}: row 2: filename is not Unicode",
    )
    kept = read(path, skip_bad=True)
    assert kept.skipped == {"bad_entry": 1, "bad_caption": 3} and len(kept.samples) == 23
    assert {s.image_id: len(s.references) for s in kept.samples}["pond_1.jpg"] == 2


def test_parquet(tmp_path: Path, items: list[Drawn]) -> None:
    hub = write_parquet(tmp_path / "hub", items, shards=1)
    file = next((hub / "data").glob("train*"))
    pyarrow.parquet.write_table(damaged(pyarrow.parquet.read_table(file)), file)
    check_damaged(hub, file.name)


def test_arrow(tmp_path: Path, items: list[Drawn]) -> None:
    saved = write_saved(tmp_path / "saved", items)
    file = saved / "train" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(file)) as source:
        table = damaged(pa.ipc.open_stream(source).read_all())
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    check_damaged(saved, file.name)


@pytest.mark.parametrize("names", [[1, 2, 3], [None, None, None], [b"x", b"y", b"z"]])
def test_file_names_that_are_not_text(tmp_path: Path, items: list[Drawn], names: list[Any]) -> None:
    hub = write_parquet(tmp_path / "hub", items, shards=1)
    table = pa.table({"filename": names, "captions": [["a pond ."]] * 3, "image": [items[0].data] * 3})
    pyarrow.parquet.write_table(table, hub / "data" / "train-extra.parquet")
    if names[0] is None:
        assert len(read(hub).samples) == 27
    else:
        refused(hub, "3 entries without a usable file name or split: train-extra.parquet: row 0: filename is ")
        assert read(hub, skip_bad=True).skipped == {"bad_entry": 3}


def test_a_state_that_is_not_json(tmp_path: Path, items: list[Drawn]) -> None:
    saved = write_saved(tmp_path / "saved", items)
    (saved / "train" / "state.json").write_text("{torn")
    refused(saved, "state.json: not JSON")


def test_names_on_disk_that_are_not_unicode_are_told(tmp_path: Path, items: list[Drawn]) -> None:
    root = write_karpathy(tmp_path / "odd", items)
    (root / "RSICD_images" / "odd_\udcff.jpg").write_bytes(items[0].data)
    from rsopt.data.check import check
    from rsopt.data.read import find

    told = [str(p) for p in check(find(root)).findings.problems()]
    assert told == ["1 image files that are not listed: odd_\\udcff.jpg"]


# half an emoji among letters: drawn from all of Unicode it would hardly ever come
odd_text = st.text(st.sampled_from("ab ._\ud83d\ude00") | st.characters(exclude_categories=()), max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3),
    max_leaves=5,
)
filenames = st.sampled_from(["airport_0.jpg", "x.jpg"]) | anything
splits = st.just("train") | anything
said = odd_text | anything
sentences = st.lists(
    st.fixed_dictionaries({"raw": said}, optional={"tokens": st.lists(said, max_size=3)}), min_size=1, max_size=3
)
keys = {"filename": filenames, "split": splits}
odd_entries = st.fixed_dictionaries(
    keys | {"sentences": sentences | st.lists(anything) | anything}, optional={"filepath": anything}
)
odd_nwpu_entries = st.fixed_dictionaries(keys, optional={"raw": said, "raw_1": said})


def check_reads(file: Path, content: Any) -> None:
    """Whatever is listed beside three good images, these are read, and all text is Unicode."""
    file.write_text(json.dumps(content))
    try:
        read(file)
    except UserError as error:
        str(error).encode()
    data = read(file, skip_bad=True)
    assert {"airport_0.jpg", "airport_1.jpg", "airport_2.jpg"} <= {s.image_id for s in data.samples}
    for sample in data.samples:
        "".join((sample.image_id, sample.scene or "", *sample.references)).encode()


@settings(max_examples=40, deadline=None)
@given(st.lists(odd_entries | anything, max_size=4))
@example([{"filename": "airport_0.jpg", "split": "train", "sentences": [{"raw": "half \ud83d"}]}])
def test_any_entries_in_rsicd_s_form(tmp_path_factory: pytest.TempPathFactory, entries: list[Any]) -> None:
    folder = write_rsicd(tmp_path_factory.mktemp("any") / "set")
    content = json.loads((folder / "dataset_rsicd.json").read_text())
    check_reads(folder / "dataset_rsicd.json", content | {"images": content["images"] + entries})


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(odd_text, st.lists(odd_nwpu_entries | anything, max_size=3), max_size=2))
@example({"airport": [{"filename": "airport_0.jpg", "split": "train", "raw": "half \ud83d"}]})
def test_any_entries_in_nwpu_s_form(tmp_path_factory: pytest.TempPathFactory, odd: dict[str, list[Any]]) -> None:
    folder = write_rsicd(tmp_path_factory.mktemp("any") / "set")
    splits = ("train", "val", "test")
    good = [{"filename": f"airport_{i}.jpg", "split": split, "raw": "a plane ."} for i, split in enumerate(splits)]
    check_reads(folder / "dataset_rsicd.json", odd | {"airport": odd.get("airport", []) + good * 10})
