"""A canvas for flat shapes in unit coordinates that records the drawn objects. Used by the mini set and the pretraining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "white": (238, 238, 234),
    "red": (186, 58, 48),
    "blue": (58, 98, 190),
    "yellow": (232, 204, 66),
    "grey": (138, 140, 146),
    "black": (38, 38, 44),
    "orange": (226, 128, 46),
    "brown": (122, 82, 54),
    "green": (66, 136, 60),
    "purple": (128, 70, 150),
}
GROUNDS: dict[str, Rgb] = {
    "grass": (112, 158, 84),
    "wood": (62, 104, 58),
    "soil": (176, 146, 110),
    "sand": (226, 208, 158),
    "concrete": (178, 178, 174),
    "asphalt": (112, 112, 116),
    "snow": (240, 244, 248),
    "sky": (158, 196, 232),
}
WATERS: dict[str, Rgb] = {"blue": (48, 104, 168), "green": (64, 122, 104), "brown": (134, 112, 78), "black": (36, 48, 58)}


@dataclass(frozen=True, slots=True)
class Mark:
    """A drawn object: its kind, its colour name and its centre in unit coordinates."""

    thing: str
    colour: str
    x: float
    y: float


class Canvas:
    """A square image. (0, 0) is the top left corner, (1, 1) the bottom right; angles are in degrees, clockwise.

    `marks` holds all countable objects. If `label_size` is not 0, `labels` is an image of that many pixels a side with the
    index in `kinds` of the topmost object.
    """

    def __init__(self, size: int, rng: Random, kinds: Sequence[str] = (), label_size: int = 0) -> None:
        self.size, self.rng = size, rng
        self.image = Image.new("RGB", (size, size))
        self._draw = ImageDraw.Draw(self.image)
        self.marks: list[Mark] = []
        self._index = {name: i for i, name in enumerate(kinds)}
        self.labels = Image.new("L", (label_size, label_size)) if label_size else None
        self._label_draw = ImageDraw.Draw(self.labels) if self.labels else None

    def shade(self, rgb: Rgb, light: float = 1.0, jitter: float = 0.06) -> Rgb:
        """Make `rgb` lighter or darker and jitter each channel, so that no two objects look exactly alike."""
        whole = light * (1 + self.rng.uniform(-jitter, jitter))
        red, green, blue = (max(0, min(255, round(c * whole * (1 + self.rng.uniform(-jitter, jitter) / 2)))) for c in rgb)
        return red, green, blue

    def mark(self, thing: str, colour: str, x: float, y: float) -> None:
        """Record a countable object."""
        self.marks.append(Mark(thing, colour, x, y))

    def polygon(self, points: Sequence[Point], fill: Rgb, thing: str | None = None) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(x * self.size, y * self.size) for x, y in points], fill=fill)
        if self._label_draw and self.labels and thing in self._index:
            side = self.labels.width
            self._label_draw.polygon([(x * side, y * side) for x, y in points], fill=self._index[thing])

    def rectangle(self, box: Box, fill: Rgb, thing: str | None = None) -> None:
        """Draw a filled rectangle along the axes."""
        x0, y0, x1, y1 = box
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), fill, thing)

    def block(self, x: float, y: float, w: float, h: float, angle: float, fill: Rgb, thing: str | None = None) -> None:
        """Draw a filled rectangle.

        Args:
            x: of the centre.
            y: of the centre.
            w: width.
            h: height.
            angle: by which it is turned, degrees.
            fill: its colour.
            thing: its kind, for `labels`.
        """
        corners = ((-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2))
        self.polygon(turned(corners, x, y, angle), fill, thing)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Rgb, thing: str | None = None) -> None:
        """Draw a filled ellipse.

        Args:
            x: of the centre.
            y: of the centre.
            rx: horizontal radius.
            ry: vertical radius.
            fill: its colour.
            thing: its kind, for `labels`.
        """
        s = self.size
        self._draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=fill)
        if self._label_draw and self.labels and thing in self._index:
            s = self.labels.width
            box = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
            self._label_draw.ellipse(box, fill=self._index[thing])

    def band(self, points: Sequence[Point], width: float, fill: Rgb, thing: str | None = None) -> None:
        """Draw a line of `width` through `points`, with round joints."""
        self._line(self._draw, self.size, points, width, fill)
        if self._label_draw and self.labels and thing in self._index:
            self._line(self._label_draw, self.labels.width, points, width, self._index[thing])

    @staticmethod
    def _line(draw: ImageDraw.ImageDraw, size: int, points: Sequence[Point], width: float, fill: Rgb | int) -> None:
        line = [(x * size, y * size) for x, y in points]
        draw.line(line, fill=fill, width=max(1, round(width * size)), joint="curve")
        radius = width * size / 2
        for x, y in line[1:-1]:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def finished(self, noise: float = 5.0, blur: float = 0.0) -> Image.Image:
        """Return the image, blurred by `blur` pixels, with sensor noise of `noise` grey levels."""
        image = self.image.filter(ImageFilter.GaussianBlur(blur)) if blur else self.image
        grain = np.random.default_rng(self.rng.getrandbits(32)).normal(0, noise, (self.size, self.size, 1))
        return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def turned(points: Sequence[Point], x: float, y: float, angle: float) -> list[Point]:
    """Turn `points` by `angle` degrees about the origin, then move them to (x, y)."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [(x + px * c - py * s, y + px * s + py * c) for px, py in points]


def curve(start: Point, end: Point, bend: float, steps: int = 9) -> list[Point]:
    """Return points from `start` to `end` on an S curve of amplitude `bend` (0: straight)."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0)
    nx, ny = -(y1 - y0) / length, (x1 - x0) / length
    shares = [i / (steps - 1) for i in range(steps)]
    return [
        (x0 + t * (x1 - x0) + bend * math.sin(2 * math.pi * t) * nx, y0 + t * (y1 - y0) + bend * math.sin(2 * math.pi * t) * ny)
        for t in shares
    ]


def grid(box: Box, spacing: float, rng: Random, jitter: float = 0.2) -> list[Point]:
    """Return points about `spacing` apart that fill `box`, each moved by up to `jitter` spacings, in drawing order."""
    x0, y0, x1, y1 = box
    columns, rows = (max(1, round(side / spacing)) for side in (x1 - x0, y1 - y0))
    dx, dy = (x1 - x0) / columns, (y1 - y0) / rows
    return [
        (x0 + (column + 0.5 + rng.uniform(-jitter, jitter)) * dx, y0 + (row + 0.5 + rng.uniform(-jitter, jitter)) * dy)
        for row in range(rows)
        for column in range(columns)
    ]


def apart(rng: Random, box: Box, count: int, distance: float, taken: Sequence[Point] = ()) -> list[Point]:
    """Return `count` random points in `box`, at least `distance` from each other and from `taken`.

    The distance shrinks if the box is too full for that count.

    Args:
        rng: source of randomness.
        box: of the points.
        count: number of points.
        distance: between any two.
        taken: points that exist already.
    """
    points: list[Point] = []
    x0, y0, x1, y1 = box
    while len(points) < count:
        for _ in range(30):
            x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
            if all(math.hypot(x - a, y - b) >= distance for a, b in [*points, *taken]):
                points.append((x, y))
                break
        else:
            distance *= 0.9
    return points
