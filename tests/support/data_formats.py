"""Writes one small data set of coloured shapes in each of the known formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image, ImageDraw

from rsopt.data.images import open_image
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200), "white": (240, 240, 240)}
SCENES = ("pond", "bridge", "parking")
HUB_SPLITS = {"train": "train", "val": "valid", "test": "test"}


@dataclass(frozen=True)
class Drawn:
    """An image of the set: name, split, class, captions with repetitions, encoded bytes."""

    filename: str
    split: str
    scene: str
    texts: tuple[str, ...]
    data: bytes


def drawn_set(folder: Path, images: int = 24) -> list[Drawn]:
    """Draw the set; its image files are in `folder` too."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(images):
        scene, colour = SCENES[number % 3], list(COLOURS)[number % 4]
        filename = f"{scene}_{number // 3 + 1}.jpg"
        picture = Image.new("RGB", (64, 48 if number % 5 else 64), (90, 120 + number, 80))
        ImageDraw.Draw(picture).ellipse((10, 10, 30 + number, 40), COLOURS[colour])
        picture.save(folder / filename, quality=90)
        pair = [f"there is a  {colour} {scene} ,  it is number {number} .", f"A {colour} {scene} near trees."]
        texts = tuple((pair + [pair[1]] * 3) if number % 2 else [pair[0]] * 5)
        split = "val" if number % 6 == 4 else "test" if number % 6 == 5 else "train"
        items.append(Drawn(filename, split, scene, texts, (folder / filename).read_bytes()))
    return items


def write_karpathy(root: Path, items: list[Drawn], name: str = "rsicd", images: str = "RSICD_images") -> Path:
    """Write RSICD's layout."""
    (root / images).mkdir(parents=True)
    rows = []
    for number, item in enumerate(items):
        (root / images / item.filename).write_bytes(item.data)
        sentences = [
            {"tokens": text.split(), "raw": text, "imgid": number, "sentid": 5 * number + n} for n, text in enumerate(item.texts)
        ]
        sentids = [s["sentid"] for s in sentences]
        row = {"filename": item.filename, "imgid": number, "split": item.split, "sentids": sentids}
        rows.append(row | {"sentences": sentences})
    (root / f"dataset_{name}.json").write_text(json.dumps({"images": rows, "dataset": name}))
    return root


def write_nwpu(root: Path, items: list[Drawn]) -> Path:
    """Write NWPU-Captions' layout: classes as keys and as folders."""
    classes: dict[str, list[dict[str, object]]] = {}
    for number, item in enumerate(items):
        (root / "NWPU_images" / item.scene).mkdir(parents=True, exist_ok=True)
        (root / "NWPU_images" / item.scene / item.filename).write_bytes(item.data)
        raws = {"raw" if n == 0 else f"raw_{n}": text for n, text in enumerate(item.texts)}
        entry = {"filename": item.filename, "imgid": number, "split": item.split, **raws}
        classes.setdefault(item.scene, []).append(entry)
    (root / "dataset_nwpu.json").write_text(json.dumps(classes))
    return root


def hub_table(items: list[Drawn], caption: str = "captions") -> pa.Table:
    """Rows in the hub's form: filename with a folder, captions, image as {bytes, path}."""
    return pa.table(
        {
            "filename": [f"rsicd_images/{item.filename}" for item in items],
            caption: [list(item.texts) for item in items],
            "image": [{"bytes": item.data, "path": item.filename} for item in items],
        }
    )


def write_parquet(root: Path, items: list[Drawn], caption: str = "captions", shards: int = 2) -> Path:
    """Write the hub's parquet files, each split in shards."""
    (root / "data").mkdir(parents=True)
    for split, hub_name in HUB_SPLITS.items():
        chosen = [item for item in items if item.split == split]
        for shard in range(shards):
            part = chosen[len(chosen) * shard // shards : len(chosen) * (shard + 1) // shards]
            name = f"{hub_name}-{shard:05d}-of-{shards:05d}-0123456789abcdef.parquet"
            pyarrow.parquet.write_table(hub_table(part, caption), root / "data" / name)
    return root


def write_saved(root: Path, items: list[Drawn]) -> Path:
    """Write what `save_to_disk` writes: for each split a folder with arrow streams and a state."""
    root.mkdir(parents=True)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(HUB_SPLITS.values())}))
    for split, hub_name in HUB_SPLITS.items():
        folder, name = root / hub_name, "data-00000-of-00001.arrow"
        folder.mkdir()
        table = hub_table([item for item in items if item.split == split])
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        (folder / "dataset_info.json").write_text("{}")
    return root


def internal(data: CaptionData) -> list[tuple[Any, ...]]:
    """Captions, classes and pixels of a data set in a fixed order, for comparisons."""
    return sorted((s.image_id, s.split, s.captions, s.scene, open_image(s).size, open_image(s).tobytes()) for s in data.samples)


def refused(path: Path, *words: str, skip_bad: bool = False) -> str:
    """Assert that reading fails with one line that contains `words`; returns the line."""
    with pytest.raises(UserError) as caught:
        read(path, skip_bad=skip_bad, verify=True)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message
