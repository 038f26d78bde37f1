"""General pictures with general captions: what the tiny base has seen of the world before it is ever tuned.

Compositions are drawn at random (red planes on sand beside a pond, boats on snow), not as scenes; captions are of the "a photo of
two red cars next to a road" kind. `facts` are what the renderer knows for sure, as classes for dense supervision.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from research.tiny_world.dense_scenes import LABEL_SIZE, RENDER_SIZE, Picture, land, put
from research.tiny_world.ground_scenes import front_picture
from research.tiny_world.words import (
    ABOVE,
    COLOUR_NAMES,
    COUNTED,
    FRONT,
    KINDS,
    LAND_NAMES,
    LANDS,
    MANY,
    NUMBERS,
    SHAPES,
    SIDES,
    WATER_NAMES,
    caption,
    some,
)
from rsopt.data.generated import objects as things
from rsopt.data.generated.canvas import COLOURS, GROUNDS, WATERS, Canvas, apart, curve, grid

_NAMES = {
    "tank": ("tank", "storage tank", "round tank"),
    "pool": ("swimming pool",),
    "court": ("court", "sports court"),
    "house": ("house", "building"),
}


def aerial_picture(canvas: Canvas) -> tuple[list[str], dict[str, int]]:
    """A random composition seen from above; returns the parts of a caption and the facts that marks do not give."""
    rng, facts = canvas.rng, dict[str, int]()
    first = rng.choice(LAND_NAMES)
    split = rng.choice((None, None, ("left", "right"), ("top", "bottom")))
    if split:
        second = rng.choice([name for name in LAND_NAMES if name != first])
        for side, kind in zip(split, (first, second), strict=True):
            land(canvas, SIDES[side], kind)
            facts[f"land_{side}"] = LAND_NAMES.index(kind)
        under = f"{rng.choice(LANDS[first])} {_at(rng, split[0])} and {rng.choice(LANDS[second])} {_at(rng, split[1])}"
    else:
        land(canvas, (0, 0, 1, 1), first)
        facts.update({f"land_{side}": LAND_NAMES.index(first) for side in SIDES})
        under = rng.choice(LANDS[first])
    parts = [f"with {under}" if split else f"{rng.choice(('on', 'around', 'with', 'surrounded by'))} {under}"]
    if rng.random() < 0.3:  # a pad in the middle, as under many built things
        pad = rng.choice(("concrete", "asphalt", "sand", "soil", "grass"))
        things.ground(
            canvas, (rng.uniform(0.04, 0.2), rng.uniform(0.04, 0.2), rng.uniform(0.8, 0.96), rng.uniform(0.8, 0.96)), pad
        )
    return [_figures(canvas, facts), *parts, *_lines(canvas, facts), *_groups(canvas, facts)], facts


def _at(rng: Random, side: str) -> str:
    return rng.choice((f"on the {side}", f"at the {side}", f"on the {side} side"))


def _figures(canvas: Canvas, facts: dict[str, int]) -> str:
    """Now and then one large figure: ponds, a running track, a ring of stands, fields. Returns words or nothing."""
    rng = canvas.rng
    figure = rng.choice(("", "", "", "water", "water", "track", "stadium", "fields"))
    facts["water_shape"], facts["waters"] = 0, 0
    if figure == "water":
        count, shape, colour = rng.choice((1, 1, 2)), rng.choice(("round", "rectangular")), rng.choice(WATER_NAMES)
        radius = rng.uniform(0.13, 0.34) if count == 1 else rng.uniform(0.13, 0.21)
        places = (
            [(rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6))]
            if count == 1
            else [(0.26, rng.uniform(0.25, 0.75)), (0.75, rng.uniform(0.25, 0.75))]
        )
        for x, y in places:
            for grow, rgb in ((1.12, (206, 198, 170)), (1.0, WATERS[colour])):
                if shape == "round":
                    canvas.ellipse(x, y, radius * grow, radius * grow * 0.95, canvas.shade(rgb), "water")
                else:
                    canvas.block(x, y, radius * 2 * grow, radius * 1.7 * grow, 0, canvas.shade(rgb), "water")
        facts.update(water_shape=SHAPES.index(shape), waters=count, water_colour=WATER_NAMES.index(colour))
        return some(rng, count, rng.choice(("pond", "lake")), f"{shape} {colour}")
    if figure == "track":
        colour, x = rng.choice(COLOUR_NAMES), rng.uniform(0.3, 0.7)
        bare = rng.random() < 0.4
        things.track(
            canvas, x, 0.5, rng.uniform(0.34, 0.5), rng.uniform(0.66, 0.9), colour, GROUNDS["soil"] if bare else (92, 160, 80)
        )
        return f"a {colour} running track around a {'bare' if bare else 'green'} field"
    if figure == "stadium":
        colour, shape = rng.choice(COLOUR_NAMES), rng.choice(("oval", "round"))
        rx, ry = (rng.uniform(0.24, 0.3), rng.uniform(0.35, 0.42)) if shape == "oval" else (0.35, 0.35)
        for share, light in ((1.0, 1.0), (0.8, 0.75)):
            canvas.ellipse(0.5, 0.5, rx * share, ry * share, canvas.shade(COLOURS[colour], light), "stadium")
        canvas.ellipse(0.5, 0.5, rx * 0.55, ry * 0.55, canvas.shade((92, 160, 80)), "stadium")
        canvas.mark("stadium", colour, 0.5, 0.5)
        return f"{'an' if shape == 'oval' else 'a'} {shape} {colour} ring of seats around a green field"
    if figure == "fields":
        count, colour = rng.randint(1, 4), rng.choice(("green", "yellow", "brown"))
        other = rng.choice((colour, rng.choice(("green", "yellow", "brown"))))
        cells = [(i % 2 * 0.5, i // 2 * 0.5) for i in rng.sample(range(4), count)]
        for i, (x, y) in enumerate(cells):
            things.field(canvas, (x + 0.01, y + 0.01, x + 0.49, y + 0.49), (colour, other)[i % 2], rng.random() < 0.5)
        kind = colour if other == colour or count == 1 else f"{colour} and {other}"
        return some(rng, count, "striped field", kind)
    return ""


def _lines(canvas: Canvas, facts: dict[str, int]) -> list[str]:
    """Roads that cross or run side by side, and rivers; as parts of a caption."""
    rng, parts = canvas.rng, list[str]()
    upright = rng.random() < 0.5
    if facts["waters"] == 0 and rng.random() < 0.3:
        colour, curved = rng.choice(WATER_NAMES), rng.random() < 0.5
        line = things.across(canvas, upright, rng.uniform(0.4, 0.6), rng.uniform(0.08, 0.16) if curved else 0.0)
        things.river(canvas, line, rng.uniform(0.14, 0.44), colour)
        facts.update(water_shape=1 + curved, waters=1, water_colour=WATER_NAMES.index(colour))
        beside, river = rng.choice(("beside", "with", "along", "by")), rng.choice(("river", "stream", "river"))
        parts.append(f"{beside} a {SHAPES[1 + curved]} {colour} {river}")
    roads = rng.choice((0, 0, 0, 1, 1, 2, 3, 4))
    facts["roads"] = roads
    width = rng.uniform(0.08, 0.14)
    if roads and (roads > 2 or rng.random() < 0.5):
        lines = [things.across(canvas, True, 0.5), things.across(canvas, False, 0.5), curve((-0.05, -0.05), (1.05, 1.05), 0.0)]
        lines.append(curve((1.05, -0.05), (-0.05, 1.05), 0.0))
        if roads < 3:
            rng.shuffle(lines)
        for line in lines[:roads]:
            things.road(canvas, line, width)
    else:
        for i in range(roads):
            at = rng.uniform(0.1, 0.9) if roads == 1 else (0.25 + 0.5 * i) + rng.uniform(-0.08, 0.08)
            things.road(canvas, things.across(canvas, not upright, at, rng.choice((0, 0.05))), width)
    if roads:
        cross = rng.choice(("crossing ", "")) if roads > 1 else ""
        parts.append(f"{rng.choice(('with', 'next to', 'near', 'by'))} {some(rng, roads, f'{cross}road')}")
    return parts


def _groups(canvas: Canvas, facts: dict[str, int]) -> list[str]:
    """Up to three groups of things, each of one kind and colour, scattered or in rows."""
    rng, parts = canvas.rng, list[str]()
    facts["rows"] = 0
    taken: list[tuple[float, float]] = []
    for kind in rng.sample(("plane", "car", "boat", "house", "tank", "court", "pool", "tree"), rng.choice((0, 1, 2, 2, 3))):
        count = rng.choice((1, 1, 2, 2, 3, 3, 4, 4, 6))
        colour = "blue" if kind == "pool" else "green" if kind == "tree" else rng.choice(COLOUR_NAMES)
        angle = rng.choice((0, 45, 90, 135, 180, 270))
        if kind == "car" and rng.random() < 0.4 and not parts:
            rows = rng.randint(1, 4)
            facts["rows"] = rows
            left = rng.choice((0.04, 0.24))
            for row in range(rows):
                for x, _ in grid((left, 0, 0.97, 0.1), 0.11, rng, 0.05):
                    put(canvas, kind, colour, x, (row + 0.5) / rows, 0.19, rng.choice((0, 180)))
            parts.append(f"{rng.choice(('many ', ''))}{colour} cars in {NUMBERS[rows]} {'row' if rows == 1 else 'rows'}")
            break
        size = rng.uniform(0.15, 0.27) if count < 4 else rng.uniform(0.15, 0.21)
        side = rng.choice((None, None, *SIDES)) if count < 4 else None
        x0, y0, x1, y1 = SIDES[side] if side else (0.0, 0.0, 1.0, 1.0)
        margin = 0.6 * size
        places = apart(rng, (x0 + margin, y0 + margin, x1 - margin, y1 - margin), count, 1.25 * size, taken)
        taken += places
        for x, y in places:
            put(canvas, kind, colour, x, y, size, angle + rng.uniform(-8, 8))
        name = rng.choice(_NAMES.get(kind, (kind,)))
        shown = "" if kind == "pool" else colour
        parts.append(some(rng, count, name, shown) + (f" {_at(rng, side)}" if side and rng.random() < 0.6 else ""))
    return parts


def draw_picture(rng: Random, captions: int = 2) -> Picture:
    """A general picture: three quarters from above, the rest from the ground."""
    canvas = Canvas(RENDER_SIZE, rng, KINDS, LABEL_SIZE)
    draw: Callable[[Canvas], tuple[list[str], dict[str, int]]]
    draw, openings = (aerial_picture, ABOVE) if rng.random() < 0.8 else (front_picture, FRONT)
    parts, facts = draw(canvas)
    for kind in COUNTED:
        marks = [m for m in canvas.marks if m.thing == kind]
        facts[f"count_{kind}"] = min(len(marks), MANY)
        if len({m.colour for m in marks}) == 1:
            facts[f"colour_{kind}"] = COLOUR_NAMES.index(marks[0].colour)
    image = canvas.finished(noise=rng.uniform(1, 6), blur=rng.choice((0, 0, 0.5)))
    texts = tuple(caption(rng, parts, openings) for _ in range(captions))
    return Picture(image, texts, facts, np.asarray(canvas.labels, dtype=np.uint8), tuple(canvas.marks))
