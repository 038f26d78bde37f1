"""Draws objects seen from above: planes, cars, boats, trees, houses, tanks, courts, roads, rivers and ground.

Arguments of all functions: `x`, `y` the centre; `size`, `w`, `h`, `radius`, `width` lengths in shares of the image's side;
`angle` in degrees, clockwise; `colour` a key of COLOURS (of a river, of WATERS).
"""

from __future__ import annotations

from itertools import pairwise

from rsopt.data.generated.canvas import COLOURS, GROUNDS, WATERS, Box, Canvas, Point, curve, grid, turned

COVERS = ("trees", "buildings", "meadow", "bareland", "farmland")


def plane(canvas: Canvas, x: float, y: float, size: float, angle: float, colour: str) -> None:
    """A plane whose nose points up at angle 0; `size` is its length."""
    fill, dark = canvas.shade(COLOURS[colour]), canvas.shade(COLOURS[colour], 0.8)
    s = size / 2
    canvas.polygon(turned([(0, -0.25 * s), (s, 0.35 * s), (s, 0.6 * s), (0, 0.25 * s)], x, y, angle), dark, "plane")
    canvas.polygon(turned([(0, -0.25 * s), (-s, 0.35 * s), (-s, 0.6 * s), (0, 0.25 * s)], x, y, angle), dark, "plane")
    canvas.polygon(turned([(0, 0.6 * s), (0.45 * s, s), (-0.45 * s, s)], x, y, angle), dark, "plane")
    canvas.polygon(
        turned([(0, -s), (0.17 * s, -0.6 * s), (0.13 * s, 0.95 * s), (-0.13 * s, 0.95 * s), (-0.17 * s, -0.6 * s)], x, y, angle),
        fill,
        "plane",
    )
    canvas.mark("plane", colour, x, y)


def car(canvas: Canvas, x: float, y: float, size: float, angle: float, colour: str) -> None:
    """A car of length `size`, along the vertical at angle 0."""
    canvas.block(x, y, size * 0.52, size, angle, canvas.shade(COLOURS[colour]), "car")
    cx, cy = turned([(0, -0.12 * size)], x, y, angle)[0]
    canvas.block(cx, cy, size * 0.4, size * 0.2, angle, canvas.shade((60, 70, 84)), "car")
    canvas.mark("car", colour, x, y)


def boat(canvas: Canvas, x: float, y: float, size: float, angle: float, colour: str) -> None:
    """A boat of length `size`, its bow up at angle 0."""
    s = size / 2
    hull = [(0, -s), (0.32 * s, -0.35 * s), (0.3 * s, s), (-0.3 * s, s), (-0.32 * s, -0.35 * s)]
    canvas.polygon(turned(hull, x, y, angle), canvas.shade(COLOURS[colour]), "boat")
    cx, cy = turned([(0, 0.25 * s)], x, y, angle)[0]
    canvas.block(cx, cy, 0.3 * s, 0.6 * s, angle, canvas.shade(COLOURS[colour], 0.7), "boat")
    canvas.mark("boat", colour, x, y)


def tree(canvas: Canvas, x: float, y: float, radius: float, dark: bool = False) -> None:
    """A tree crown with its shadow. It is not marked: captions do not count trees."""
    light = 0.62 if dark else 0.9
    canvas.ellipse(x + 0.25 * radius, y + 0.3 * radius, radius, radius, canvas.shade(COLOURS["green"], 0.45), "tree")
    canvas.ellipse(x, y, radius, radius, canvas.shade(COLOURS["green"], light, 0.1), "tree")
    canvas.ellipse(
        x - 0.3 * radius, y - 0.3 * radius, radius * 0.45, radius * 0.45, canvas.shade(COLOURS["green"], light * 1.25), "tree"
    )


def house(canvas: Canvas, x: float, y: float, w: float, h: float, angle: float, colour: str) -> None:
    """A house or hall with a roof of two slopes and a shadow."""
    canvas.block(x + 0.1 * w, y + 0.12 * h, w, h, angle, (58, 58, 56), "house")
    canvas.block(x, y, w, h, angle, canvas.shade(COLOURS[colour], 0.82), "house")
    cx, cy = turned([(0, -0.25 * h)], x, y, angle)[0]
    canvas.block(cx, cy, w, h / 2, angle, canvas.shade(COLOURS[colour], 1.05), "house")
    canvas.mark("house", colour, x, y)


def tank(canvas: Canvas, x: float, y: float, radius: float, colour: str) -> None:
    """A round storage tank: shadow, wall, lid."""
    canvas.ellipse(x + 0.25 * radius, y + 0.25 * radius, radius, radius, (60, 60, 58), "tank")
    canvas.ellipse(x, y, radius, radius, canvas.shade(COLOURS[colour], 0.7), "tank")
    canvas.ellipse(x, y, radius * 0.82, radius * 0.82, canvas.shade(COLOURS[colour], 1.02), "tank")
    canvas.ellipse(x, y, radius * 0.14, radius * 0.14, canvas.shade(COLOURS[colour], 0.6), "tank")
    canvas.mark("tank", colour, x, y)


def court(canvas: Canvas, x: float, y: float, w: float, h: float, colour: str) -> None:
    """A sports court with white lines."""
    canvas.block(x, y, w, h, 0, (232, 232, 226), "court")
    canvas.block(x, y, w * 0.86, h * 0.9, 0, canvas.shade(COLOURS[colour]), "court")
    canvas.block(x, y, w * 0.86, h * 0.04, 0, (232, 232, 226), "court")
    canvas.mark("court", colour, x, y)


def pool(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A swimming pool with a pale rim."""
    canvas.block(x, y, size * 1.25, size * 0.85, 0, (230, 226, 214), "pool")
    canvas.block(x, y, size, size * 0.6, 0, canvas.shade((70, 190, 224)), "pool")
    canvas.mark("pool", "blue", x, y)


def track(canvas: Canvas, x: float, y: float, w: float, h: float, colour: str, field_rgb: tuple[int, int, int]) -> None:
    """A running track: an upright oval of `w` x `h` about a field with white lines."""
    margin = 0.2 * w
    for ww, hh, rgb in ((w, h, COLOURS[colour]), (w - 2 * margin, h - 2 * margin, field_rgb)):
        fill = canvas.shade(rgb)
        canvas.block(x, y, ww, hh - ww, 0, fill, "track")
        canvas.ellipse(x, y - (hh - ww) / 2, ww / 2, ww / 2, fill, "track")
        canvas.ellipse(x, y + (hh - ww) / 2, ww / 2, ww / 2, fill, "track")
    canvas.block(x, y, w - 2 * margin, 0.012, 0, (236, 236, 230), "track")
    canvas.mark("track", colour, x, y)


def road(canvas: Canvas, points: list[Point], width: float = 0.09, kind: str = "asphalt") -> None:
    """A road with a pale middle line."""
    canvas.band(points, width * 1.16, (206, 204, 196), "road")
    canvas.band(points, width, canvas.shade(GROUNDS[kind]), "road")
    for (x0, y0), (x1, y1) in pairwise(points):
        for share in (0.1, 0.6):
            a = (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
            b = (x0 + (share + 0.3) * (x1 - x0), y0 + (share + 0.3) * (y1 - y0))
            canvas.band((a, b), max(0.008, width * 0.08), (232, 228, 210), "road")


def river(canvas: Canvas, points: list[Point], width: float, colour: str) -> None:
    """A river with pale banks."""
    canvas.band(points, width * 1.12, canvas.shade((168, 160, 128)), "water")
    canvas.band(points, width, canvas.shade(WATERS[colour]), "water")


def ground(canvas: Canvas, box: Box, kind: str, thing: str | None = None) -> None:
    """A rectangle of grass, soil, sand, concrete..., with a few lighter or darker spots."""
    canvas.rectangle(box, canvas.shade(GROUNDS[kind]), thing or kind)
    x0, y0, x1, y1 = box
    for _ in range(round(10 * (x1 - x0) * (y1 - y0))):
        rx, ry = canvas.rng.uniform(0.02, 0.09) * (x1 - x0), canvas.rng.uniform(0.02, 0.09) * (y1 - y0)
        x, y = canvas.rng.uniform(x0 + rx, x1 - rx), canvas.rng.uniform(y0 + ry, y1 - ry)
        canvas.ellipse(x, y, rx, ry, canvas.shade(GROUNDS[kind], canvas.rng.choice((0.93, 1.06))), thing or kind)


def field(canvas: Canvas, box: Box, colour: str, upright: bool) -> None:
    """A field: furrows in two shades of green, yellow or brown."""
    rgb = {"green": (106, 160, 72), "yellow": (214, 192, 96), "brown": (150, 112, 76)}[colour]
    canvas.rectangle(box, canvas.shade(rgb), "field")
    x0, y0, x1, y1 = box
    stripes = max(2, round(((x1 - x0) if upright else (y1 - y0)) / 0.05))
    dark = canvas.shade(rgb, 0.84)
    for i in range(stripes):
        a, b = i / stripes, (i + 0.4) / stripes
        part = (x0 + a * (x1 - x0), y0, x0 + b * (x1 - x0), y1) if upright else (x0, y0 + a * (y1 - y0), x1, y0 + b * (y1 - y0))
        canvas.rectangle(part, dark, "field")
    canvas.mark("field", colour, (x0 + x1) / 2, (y0 + y1) / 2)


def woods(canvas: Canvas, box: Box, spacing: float = 0.11, dark: bool = False) -> None:
    """Many trees on `box`, without the ground under them."""
    for x, y in grid(box, spacing, canvas.rng, 0.25):
        tree(canvas, x, y, spacing * canvas.rng.uniform(0.42, 0.58), dark)


def cover(canvas: Canvas, box: Box, kind: str, colour: str = "grey") -> None:
    """Fill `box` with trees, buildings (roofs of `colour`), meadow, bareland or farmland."""
    rng = canvas.rng
    if kind == "trees":
        ground(canvas, box, "wood", "tree")
        woods(canvas, box)
    elif kind == "buildings":
        ground(canvas, box, "concrete")
        for x, y in grid(box, 0.17, rng, 0.08):
            house(canvas, x, y, rng.uniform(0.1, 0.13), rng.uniform(0.08, 0.11), rng.choice((0, 90)), colour)
    elif kind == "meadow":
        ground(canvas, box, "grass")
    elif kind == "bareland":
        ground(canvas, box, "soil")
    elif kind == "farmland":
        x0, y0, x1, y1 = box
        middle = (y0 + y1) / 2
        field(canvas, (x0, y0, x1, middle), rng.choice(("green", "yellow", "brown")), True)
        field(canvas, (x0, middle, x1, y1), rng.choice(("green", "yellow", "brown")), rng.random() < 0.5)
    else:
        raise ValueError(f"unknown cover '{kind}'; known: {', '.join(COVERS)}")


def across(canvas: Canvas, upright: bool, at: float = 0.5, bend: float = 0.0, tilt: float = 0.0) -> list[Point]:
    """A line from one edge to the other: top to bottom if `upright`, else left to right."""
    start, end = (at - tilt, -0.05), (at + tilt, 1.05)
    if not upright:
        start, end = (start[1], start[0]), (end[1], end[0])
    return curve(start, end, bend)
