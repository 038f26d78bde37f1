"""A tiny data set in RSICD's layout."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image


def write_rsicd(folder: Path, splits: tuple[str, ...] = ("train", "val", "test"), images: bool = True) -> Path:
    """A small data set in RSICD's layout, one image a split."""
    (folder / "RSICD_images").mkdir(parents=True)
    entries = []
    for i, split in enumerate(splits):
        name = f"airport_{i}.jpg"
        if images:
            Image.new("RGB", (64, 64), (i, 90, 90)).save(folder / "RSICD_images" / name)
        sentences = [{"raw": f"a plane {i} .", "tokens": ["a", "plane"], "imgid": i, "sentid": i}]
        entries.append({"filename": name, "imgid": i, "split": split, "sentids": [i], "sentences": sentences})
    (folder / "dataset_rsicd.json").write_text(json.dumps({"images": entries, "dataset": "rsicd"}))
    return folder


SPACE_START = "name: own\nobjectives: [cider, params]\nparameters:\n"
