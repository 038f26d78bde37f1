"""The embedded data set: drawn overhead scenes in exactly RSICD's layout, written on first use.

RSICD's quirks are kept, so that what reads this reads the real one: classless file names, captions padded by repetition, double
spaces, misspelt words, and one caption that is empty.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from filelock import FileLock

from rsopt.common.cache import cache_dir
from rsopt.data.generated.scenes import CAPTIONS, SCENES, draw_scene
from rsopt.errors import UserError

VERSION = 1  # raise it whenever the same seed draws other pictures or captions: the cache is keyed by it
IMAGES = 960
_CLASSLESS_EVERY = 12
_DONE = "dataset_rsicd.json"


def mini_path(seed: int = 0, images: int = IMAGES) -> Path:
    """Where the generated set is or will be."""
    return cache_dir() / f"mini-{VERSION}-{images}-seed{seed}"


def mini_folder(seed: int = 0, images: int = IMAGES) -> Path:
    """The generated set in the cache, made on first use; safe when several processes ask at once."""
    folder = mini_path(seed, images)
    if (folder / _DONE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / _DONE).is_file():
            aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
            try:
                make_mini(aside, seed, images)
                aside.chmod(0o755)  # mkdtemp's folders are private; a cache may be shared
                if folder.exists():  # left by something else and without its JSON: not a data set
                    shutil.rmtree(folder)
                aside.rename(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return folder


def data_here(path: str) -> str:
    """A study's data on this node: the generated set is drawn here where the cache it lies in is not shared.

    Raises UserError where the data is not here.
    """
    if Path(path).exists():
        return path
    if Path(path).name.startswith("mini-") and (own := mini_folder()).name == Path(path).name:
        return str(own)
    raise UserError(f"data {path} is not on node {platform.node()}: it must be where all nodes see it")


def make_mini(folder: Path, seed: int = 0, images: int = IMAGES) -> Path:
    """Write the set into `folder`: `RSICD_images/*.jpg` (224 x 224) and `dataset_rsicd.json`. Depends on the seed alone.

    Classes take turns, so that any number of images spreads over all of them; splits are 80/10/10 within each class.
    """
    if images < 1:
        raise ValueError(f"images must be at least 1, not {images}")
    (folder / "RSICD_images").mkdir(parents=True, exist_ok=True)
    scenes = tuple(SCENES)
    rows: list[dict[str, Any]] = []
    empty = images // 3  # the image that gets the one empty caption, away from the set's ends
    for index in range(images):
        scene, turn = scenes[index % len(scenes)], index // len(scenes)
        rng = Random(f"mini {seed} {index}")
        image, captions = draw_scene(scene, rng)
        if index == empty:
            captions[-1] = ""
        classless = Random(f"mini name {seed} {index}").randrange(_CLASSLESS_EVERY) == 0
        filename = f"{index + 1:05d}.jpg" if classless else f"{scene}_{turn + 1}.jpg"
        image.save(folder / "RSICD_images" / filename, quality=92)
        # A tenth of every class each for validation and test; the shift spreads them where classes are short.
        split = {0: "val", 5: "test"}.get((turn + index) % 10, "train")
        rows.append(_row(index, filename, split, captions))
    text = json.dumps({"images": rows, "dataset": "rsicd-mini"})
    part = folder / f"{_DONE}.{os.getpid()}.part"
    part.write_text(text, encoding="utf-8")
    part.rename(folder / _DONE)  # last, so that the JSON's presence says that the pictures are there
    return folder


def _row(index: int, filename: str, split: str, captions: list[str]) -> dict[str, Any]:
    """One image in RSICD's fields; `tokens` are the words without the period."""
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
