"""The generated data set: drawn overhead scenes in RSICD's layout, written on first use.

It has RSICD's irregularities, so that code which reads it also reads RSICD: file names without a class, captions padded by
repetition, double spaces, misspelt words, and one empty caption.
"""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from random import Random
from typing import Any

from filelock import FileLock

from rsopt.common.atomic_files import new_folder, replacing
from rsopt.common.cache import cache_dir
from rsopt.data.generated.scenes import CAPTIONS, SCENES, draw_scene
from rsopt.errors import UserError

VERSION = 1  # part of the cache's key: raise it when a seed gives other images or captions
IMAGES = 960
_CLASSLESS_EVERY = 12
_DONE = "dataset_rsicd.json"


def mini_path(seed: int = 0, images: int = IMAGES) -> Path:
    """Return the generated set's folder in the cache, which may not exist yet."""
    return cache_dir() / f"mini-{VERSION}-{images}-seed{seed}"


def mini_folder(seed: int = 0, images: int = IMAGES) -> Path:
    """Return the generated set's folder in the cache; the first call makes it. Safe for simultaneous processes."""
    folder = mini_path(seed, images)
    if (folder / _DONE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / _DONE).is_file():
            if folder.exists():  # without its JSON it is not a data set
                shutil.rmtree(folder)
            with new_folder(folder) as aside:
                make_mini(aside, seed, images)
    return folder


def data_here(path: str) -> str:
    """Return the path of a study's data on this node; makes the generated set if the cache is not shared.

    Raises UserError if the data is not on this node.
    """
    if Path(path).exists():
        return path
    if Path(path).name.startswith("mini-") and (generated := mini_folder()).name == Path(path).name:
        return str(generated)
    raise UserError(f"data {path} is not on node {platform.node()}: put it where all nodes see it")


def make_mini(folder: Path, seed: int = 0, images: int = IMAGES) -> Path:
    """Write the set into `folder`: `RSICD_images/*.jpg` (224 x 224) and `dataset_rsicd.json`. The seed determines all bytes.

    Classes alternate, so that any number of images covers all of them; splits are 80/10/10 within each class.
    """
    if images < 1:
        raise ValueError(f"images must be at least 1, not {images}")
    (folder / "RSICD_images").mkdir(parents=True, exist_ok=True)
    scenes = tuple(SCENES)
    rows: list[dict[str, Any]] = []
    empty = images // 3  # the image with the empty caption
    for index in range(images):
        scene, turn = scenes[index % len(scenes)], index // len(scenes)
        rng = Random(f"mini {seed} {index}")
        image, captions = draw_scene(scene, rng)
        if index == empty:
            captions[-1] = ""
        classless = Random(f"mini name {seed} {index}").randrange(_CLASSLESS_EVERY) == 0
        filename = f"{index + 1:05d}.jpg" if classless else f"{scene}_{turn + 1}.jpg"
        image.save(folder / "RSICD_images" / filename, quality=92)
        # A tenth of every class each for validation and test; the shift spreads them over classes with few images.
        split = {0: "val", 5: "test"}.get((turn + index) % 10, "train")
        rows.append(_row(index, filename, split, captions))
    with replacing(folder / _DONE) as aside:  # last: if the JSON exists, all images do
        aside.write_text(json.dumps({"images": rows, "dataset": "rsicd-mini"}), encoding="utf-8")
    return folder


def _row(index: int, filename: str, split: str, captions: list[str]) -> dict[str, Any]:
    """One image in RSICD's fields; `tokens` are the words without the final period."""
    first = index * CAPTIONS
    return {
        "filename": filename,
        "imgid": index,
        "split": split,
        "sentids": list(range(first, first + CAPTIONS)),
        "sentences": [
            {"tokens": raw.removesuffix(".").split(), "raw": raw, "imgid": index, "sentid": first + i}
            for i, raw in enumerate(captions)
        ],
    }
