"""Pictures crammed with things, for dense labels only; and what all general pictures are drawn with."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from research.tiny_world.words import COLOUR_NAMES, KINDS, LAND_NAMES, SIDES, WATER_NAMES
from rsopt.data.generated import objects as things
from rsopt.data.generated.canvas import GROUNDS, WATERS, Box, Canvas, Mark, grid

RENDER_SIZE, LABEL_SIZE = 128, 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn picture, captions for it, its facts (class by name), the topmost kind per pixel (64, 64), and what it marks."""

    image: Image.Image
    captions: tuple[str, ...]
    facts: dict[str, int]
    labels: np.ndarray
    marks: tuple[Mark, ...]


def put(canvas: Canvas, kind: str, colour: str, x: float, y: float, size: float, angle: float) -> None:
    """Draw one thing of `size` (its length) at a place."""
    if kind == "plane":
        things.plane(canvas, x, y, size * 1.15, angle, colour)
    elif kind == "car":
        things.car(canvas, x, y, size * 0.75, angle, colour)
    elif kind == "boat":
        things.boat(canvas, x, y, size, angle, colour)
    elif kind == "house":
        things.house(canvas, x, y, size, size * 0.8, angle // 90 * 90, colour)
    elif kind == "tank":
        things.tank(canvas, x, y, size * 0.5, colour)
    elif kind == "court":
        things.court(canvas, x, y, size, size * 1.05, colour)
    elif kind == "pool":
        things.pool(canvas, x, y, size * 0.8)
    else:
        things.tree(canvas, x, y, size * 0.45, canvas.rng.random() < 0.3)
        canvas.mark("tree", "green", x, y)


def land(canvas: Canvas, box: Box, kind: str) -> None:
    """Cover `box` with a land of LANDS."""
    if kind == "water":
        canvas.rectangle(box, canvas.shade(WATERS[canvas.rng.choice(WATER_NAMES)]), "water")
    elif kind == "darkwood":
        things.ground(canvas, box, "wood", "tree")
        things.woods(canvas, box, 0.1, dark=True)
    elif kind in GROUNDS:
        things.ground(canvas, box, kind)
    else:
        things.cover(canvas, box, kind, canvas.rng.choice(COLOUR_NAMES))


def draw_crowd(rng: Random) -> Picture:
    """A picture crammed with things of every kind and colour, for dense labels only: it has no captions and no facts."""
    canvas = Canvas(RENDER_SIZE, rng, KINDS, LABEL_SIZE)
    upright = rng.random() < 0.5
    for side in ("left", "right") if upright else ("top", "bottom"):
        land(canvas, SIDES[side], rng.choice(LAND_NAMES))
    if rng.random() < 0.4:
        things.road(canvas, things.across(canvas, upright, 0.5, rng.choice((0, 0.08))), rng.uniform(0.08, 0.14))
    cells = rng.choice((3, 4, 5))
    for x, y in grid((0, 0, 1, 1), 1 / cells, rng, 0.12):
        if rng.random() < 0.75:
            kind = rng.choice(("plane", "plane", "car", "car", "boat", "boat", "house", "tank", "tank", "court", "pool", "tree"))
            colour = "blue" if kind == "pool" else "green" if kind == "tree" else rng.choice(COLOUR_NAMES)
            angle = rng.choice((0, 45, 90, 135, 180, 225, 270, 315)) + rng.uniform(-8, 8)
            put(canvas, kind, colour, x, y, min(0.27, rng.uniform(0.65, 0.95) / cells), angle)
    image = canvas.finished(noise=rng.uniform(1, 6), blur=rng.choice((0, 0, 0.5)))
    return Picture(image, (), {}, np.asarray(canvas.labels, dtype=np.uint8), tuple(canvas.marks))
