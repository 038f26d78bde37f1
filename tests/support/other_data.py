"""A data set that is not ours: coloured fields in RSICD's layout, some images with one caption, some with five.

Run it to make one: python -m tests.support.other_data FOLDER
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "white": (240, 240, 240), "yellow": (230, 210, 40)}
PLACES = {"left": (20, 90), "right": (150, 90), "middle": (85, 90)}


def draw_other(folder: Path, images: int = 40, seed: int = 0) -> Path:
    """Write `images` pictures with their JSON; 60 % train, 20 % val, 20 % test."""
    rng = random.Random(seed)
    (folder / "images").mkdir(parents=True)
    entries, sentid = [], 0
    for i in range(images):
        colour, place = rng.choice(list(COLOURS)), rng.choice(list(PLACES))
        picture = Image.new("RGB", (200, 230), (60, 130 + rng.randrange(40), 60))
        x, y = PLACES[place]
        ImageDraw.Draw(picture).rectangle((x, y, x + 40, y + 40), fill=COLOURS[colour])
        name = f"field_{i}.png"
        picture.save(folder / "images" / name)
        texts = [
            f"a {colour} building is on the {place} of a green field .",
            f"there is a {colour} building in the {place} .",
            f"green grass is around a {colour} building .",
            f"a building with {colour} roof on a field .",
            f"one {colour} building stands on the {place} .",
        ][: 1 if i % 3 == 0 else 5]
        sentences = [
            {"tokens": t.split()[:-1], "raw": t, "imgid": i, "sentid": sentid + k} for k, t in enumerate(texts)
        ]
        sentid += len(texts)
        split = "train" if i % 5 < 3 else "val" if i % 5 == 3 else "test"
        ids = [s["sentid"] for s in sentences]
        entries.append({"filename": name, "imgid": i, "split": split, "sentids": ids, "sentences": sentences})
    (folder / "dataset_fields.json").write_text(json.dumps({"images": entries, "dataset": "fields"}))
    return folder


if __name__ == "__main__":
    draw_other(Path(sys.argv[1]))
