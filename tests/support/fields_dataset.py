"""A data set of coloured fields in RSICD's layout, some images with one caption, some with five, and a space for it.

Write one: python -m tests.support.fields_dataset FOLDER
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "white": (240, 240, 240), "yellow": (230, 210, 40)}
PLACES = {"left": (20, 90), "right": (150, 90), "middle": (85, 90)}

_SPACE = """\
name: {name}
objectives: [cider, latency_ms, params]
rungs: [0.5, 1.0]
parameters:
  llm_layers: {{layers: [{least_llm_layers}, 8]}}
  qformer_layers: {{layers: [2/3, 1.0]}}
  ranking: {ranking}
  lora: {lora}
  llm_rank: {{int: {llm_rank}, log: true}}
  llm_targets: all_linear
  train_projection: true
  lr_factor: {{float: [0.9, 1.1], log: true}}
  epochs: {epochs}
  batch_images: 8
"""


def fields_space(
    name: str = "small",
    least_llm_layers: int = 7,
    ranking: str = "prefix",
    lora: str = "both",
    llm_rank: str = "[8, 16]",
    epochs: int = 10,
) -> str:
    """YAML of a space whose candidates learn the coloured fields in seconds.

    Args:
        name: of the space.
        least_llm_layers: of the 8 that the shipped base has.
        ranking: a name, or a choice in YAML.
        lora: a scope, or a choice in YAML.
        llm_rank: smallest and largest, in YAML.
        epochs: of a full training.
    """
    return _SPACE.format(
        name=name, least_llm_layers=least_llm_layers, ranking=ranking, lora=lora, llm_rank=llm_rank, epochs=epochs
    )


def write_fields_dataset(folder: Path, images: int = 40, seed: int = 0) -> Path:
    """Write the images and their JSON; 60 % train, 20 % val, 20 % test."""
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
        sentences = [{"tokens": t.split()[:-1], "raw": t, "imgid": i, "sentid": sentid + k} for k, t in enumerate(texts)]
        sentid += len(texts)
        split = "train" if i % 5 < 3 else "val" if i % 5 == 3 else "test"
        ids = [s["sentid"] for s in sentences]
        entries.append({"filename": name, "imgid": i, "split": split, "sentids": ids, "sentences": sentences})
    (folder / "dataset_fields.json").write_text(json.dumps({"images": entries, "dataset": "fields"}))
    return folder


def add_caption(data: Path, filename: str, text: str) -> None:
    """Give an image of the data set one more caption."""
    file = data / "dataset_fields.json"
    listing = json.loads(file.read_text())
    image = next(i for i in listing["images"] if i["filename"] == filename)
    image["sentences"].append({"tokens": text.split(), "raw": text, "imgid": image["imgid"], "sentid": 10_000})
    file.write_text(json.dumps(listing))


if __name__ == "__main__":
    write_fields_dataset(Path(sys.argv[1]))
