"""Draws overhead scenes by class and writes their five captions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image

from rsopt.data.generated import scenes_built, scenes_land, scenes_water
from rsopt.data.generated.canvas import Canvas
from rsopt.data.generated.phrases import Frames, slipped, varied

SCENES: dict[str, Callable[[Canvas], Frames]] = {
    "airport": scenes_built.airport,
    "beach": scenes_water.beach,
    "bridge": scenes_water.bridge,
    "denseresidential": scenes_built.denseresidential,
    "farmland": scenes_land.farmland,
    "forest": scenes_land.forest,
    "mediumresidential": scenes_built.mediumresidential,
    "parking": scenes_built.parking,
    "playground": scenes_built.playground,
    "pond": scenes_water.pond,
    "port": scenes_water.port,
    "river": scenes_water.river_scene,
    "sparseresidential": scenes_built.sparseresidential,
    "stadium": scenes_built.stadium,
    "storagetanks": scenes_built.storagetanks,
    "viaduct": scenes_land.viaduct,
}
IMAGE_SIZE = 224
CAPTIONS = 5
# Number of distinct captions among the five of an image, and the share of RSICD's images.
DISTINCT_SHARES = (0.44, 0.15, 0.20, 0.14, 0.07)


def draw_scene(scene: str, rng: Random) -> tuple[Image.Image, list[str]]:
    """Return a 224 x 224 image of a scene and its five captions: lower case, " ." at the end, padded by repetition."""
    canvas = Canvas(IMAGE_SIZE, rng)
    frames = SCENES[scene](canvas)
    image = canvas.finished(noise=4.0)
    return image, _captions(frames, rng)


def _captions(frames: Frames, rng: Random) -> list[str]:
    """Draw distinct captions by weight without replacement, then repeat some of them up to five."""
    wanted = rng.choices(range(1, CAPTIONS + 1), DISTINCT_SHARES)[0]
    left, distinct = list(frames), list[str]()
    while len(distinct) < wanted and left:
        weights = [weight for weight, _ in left]
        _, sentence = left.pop(rng.choices(range(len(left)), weights)[0])
        raw = slipped(f"{varied(sentence, rng)} .", rng)
        if raw not in distinct:
            distinct.append(raw)
    return distinct + [rng.choice(distinct) for _ in range(CAPTIONS - len(distinct))]
