"""Things seen from the ground, as in a children's drawing: houses, trees, cars, boats, people, balls, clouds."""

from __future__ import annotations

from rsopt.data.generated.canvas import COLOURS, GROUNDS, WATERS, Canvas

_NUMBERS = ("no", "a", "two", "three", "four")


def _house(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    canvas.rectangle((x - s / 2, y - s / 2, x + s / 2, y + s / 2), canvas.shade(COLOURS[colour]), "house")
    roof = ((x - 0.62 * s, y - s / 2), (x + 0.62 * s, y - s / 2), (x, y - s))
    canvas.polygon(roof, canvas.shade((120, 70, 60)), "house")
    canvas.rectangle((x - 0.1 * s, y, x + 0.1 * s, y + s / 2), (70, 50, 40), "house")


def _tree(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    canvas.rectangle((x - 0.06 * s, y, x + 0.06 * s, y + s / 2), canvas.shade(COLOURS["brown"]), "tree")
    canvas.ellipse(x, y - 0.1 * s, 0.32 * s, 0.38 * s, canvas.shade(COLOURS[colour]), "tree")


def _car(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    canvas.rectangle((x - s / 2, y, x + s / 2, y + 0.25 * s), canvas.shade(COLOURS[colour]), "car")
    cabin = ((x - 0.3 * s, y), (x - 0.18 * s, y - 0.2 * s), (x + 0.18 * s, y - 0.2 * s), (x + 0.3 * s, y))
    canvas.polygon(cabin, canvas.shade(COLOURS[colour], 0.8), "car")
    for wheel in (-0.28, 0.28):
        canvas.ellipse(x + wheel * s, y + 0.27 * s, 0.1 * s, 0.1 * s, (30, 30, 32), "car")


def _boat(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    hull = ((x - s / 2, y + 0.1 * s), (x + s / 2, y + 0.1 * s), (x + 0.3 * s, y + 0.35 * s), (x - 0.3 * s, y + 0.35 * s))
    canvas.polygon(hull, canvas.shade(COLOURS[colour]), "boat")
    canvas.polygon(((x, y + 0.06 * s), (x, y - 0.5 * s), (x + 0.35 * s, y)), (240, 240, 236), "boat")


def _ball(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    canvas.ellipse(x, y, 0.35 * s, 0.35 * s, canvas.shade(COLOURS[colour]), "ball")


def _person(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    canvas.ellipse(x, y - 0.32 * s, 0.13 * s, 0.13 * s, canvas.shade((220, 180, 150)), "person")
    canvas.rectangle((x - 0.15 * s, y - 0.18 * s, x + 0.15 * s, y + 0.2 * s), canvas.shade(COLOURS[colour]), "person")
    for leg in (-0.09, 0.09):
        canvas.rectangle((x + (leg - 0.05) * s, y + 0.2 * s, x + (leg + 0.05) * s, y + 0.5 * s), (50, 50, 70), "person")


def _cloud(canvas: Canvas, x: float, y: float, s: float, colour: str) -> None:
    for dx in (-0.3, 0.0, 0.3):
        canvas.ellipse(x + dx * s, y, 0.28 * s, 0.2 * s, canvas.shade(COLOURS[colour], 1.02), "cloud")


_DRAW = {"house": _house, "tree": _tree, "car": _car, "boat": _boat, "ball": _ball, "person": _person}


def front_picture(canvas: Canvas) -> tuple[list[str], dict[str, int]]:
    """A picture with sky above and ground or water below; returns caption parts and no further facts."""
    rng = canvas.rng
    floor = rng.choice(("grass", "sand", "snow", "asphalt", "water"))
    canvas.rectangle((0, 0, 1, 0.45), canvas.shade(GROUNDS["sky"]), "sky")
    tone = WATERS["blue"] if floor == "water" else GROUNDS[floor]
    canvas.rectangle((0, 0.45, 1, 1), canvas.shade(tone), floor)
    clouds = rng.choice((0, 0, 1, 2))
    for i in range(clouds):
        x = 0.5 if clouds == 1 else 0.25 + 0.5 * i
        _cloud(canvas, x, 0.14, 0.22, "white")
        canvas.mark("cloud", "white", x, 0.14)
    parts = [f"{rng.choice(('on', 'with'))} {floor}"]
    if clouds:
        parts.append(f"with {_NUMBERS[clouds]} white cloud{'s' * (clouds > 1)} above")
    kinds = rng.sample(tuple(_DRAW), rng.choice((1, 2, 2)))
    columns = [0.125, 0.375, 0.625, 0.875]
    for row, kind in enumerate(kinds):
        count = rng.randint(1, 4)
        colour = "green" if kind == "tree" else rng.choice(tuple(COLOURS))
        for x in rng.sample(columns, count):
            y = 0.45 + 0.3 * row + rng.uniform(-0.03, 0.06)
            _DRAW[kind](canvas, x, y, 0.23, colour)
            canvas.mark(kind, colour, x, y)
        noun = {"person": "person" if count == 1 else "people"}.get(kind, kind if count == 1 else f"{kind}s")
        parts.append(f"{_NUMBERS[count]} {colour} {noun}" if kind != "person" else f"{_NUMBERS[count]} {noun} in {colour}")
    return parts, {}
