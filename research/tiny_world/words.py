"""Vocabulary of the generated pictures and their captions: kinds, colours, lands, numbers, facts."""

from __future__ import annotations

from random import Random

from rsopt.data.generated.canvas import COLOURS, WATERS, Box

KINDS = (
    "nothing", "plane", "car", "boat", "tree", "house", "tank", "court", "pool", "track", "road", "water",
    "field", "stadium", "grass", "wood", "soil", "sand", "concrete", "asphalt", "snow", "sky", "ball", "person", "cloud",
)  # fmt: skip
COUNTED = (
    "plane",
    "car",
    "boat",
    "house",
    "tank",
    "court",
    "pool",
    "field",
    "track",
    "stadium",
    "tree",
    "ball",
    "person",
    "cloud",
)
MANY = 5  # things from which on a caption says "many"
COLOUR_NAMES = tuple(COLOURS)
SIDES: dict[str, Box] = {"left": (0, 0, 0.5, 1), "right": (0.5, 0, 1, 1), "top": (0, 0, 1, 0.5), "bottom": (0, 0.5, 1, 1)}
LANDS: dict[str, tuple[str, ...]] = {
    "trees": ("trees", "many trees", "a wood", "green trees"),
    "buildings": ("buildings", "many houses", "a crowd of houses", "many buildings"),
    "meadow": ("grass", "green grass", "a lawn"),
    "bareland": ("bare soil", "brown earth", "dry land"),
    "farmland": ("fields", "farmed fields", "striped fields"),
    "sand": ("sand", "yellow sand"),
    "concrete": ("concrete", "grey concrete", "pale pavement"),
    "asphalt": ("asphalt", "dark asphalt", "grey tarmac"),
    "snow": ("snow", "white snow"),
    "water": ("water", "open water"),
    "darkwood": ("dark trees", "a dark wood"),
}
LAND_NAMES = tuple(LANDS)
SHAPES = ("none", "straight", "curved", "round", "rectangular")
WATER_NAMES = tuple(WATERS)
# number of classes of each fact
FACTS: dict[str, int] = {
    **{f"count_{kind}": MANY + 1 for kind in COUNTED},
    **{f"colour_{kind}": len(COLOUR_NAMES) for kind in COUNTED},
    **{f"land_{side}": len(LANDS) for side in SIDES},
    "roads": 5, "rows": 5, "water_shape": len(SHAPES), "water_colour": len(WATERS), "waters": 3,
}  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four")


def some(rng: Random, count: int, noun: str, colour: str = "") -> str:
    """A noun phrase such as `two red cars`, in one of several wordings."""
    words = f"{colour} {noun}".strip()
    if count == 1:
        return f"{rng.choice(('a', 'a', 'one'))} {words}"
    if count >= MANY:
        return f"{rng.choice(('many', 'many', 'lots of'))} {words}s"
    return f"{rng.choice((NUMBERS[count], NUMBERS[count], str(count)))} {words}s"


ABOVE = (
    "an aerial photo of",
    "a photo from above of",
    "a picture of",
    "an image of",
    "a drawing of",
    "a view from the air of",
    "a photo of",
)
FRONT = ("a photo of", "a picture of", "an image of", "a drawing of", "a painting of")


def caption(rng: Random, parts: list[str], openings: tuple[str, ...]) -> str:
    """Joins parts of a caption to one sentence: first things, then their surroundings."""
    joints = ("with", "on", "around", "surrounded", "next", "near", "by", "beside", "along")
    nouns = [p for p in parts if p and p.split()[0] not in joints]
    rest = [p for p in parts if p and p.split()[0] in joints]
    rng.shuffle(nouns)
    rng.shuffle(rest)
    rest = rest[: rng.choice((1, 2, 2, 3))]
    if not nouns:
        head, *rest = rest
        nouns = [head.split(" ", 2)[2] if head.split()[0] in ("next", "surrounded") else head.split(" ", 1)[1]]
    text = (
        f"{rng.choice(openings)} {' and '.join(nouns)}"
        if len(nouns) < 3
        else f"{rng.choice(openings)} {nouns[0]}, {nouns[1]} and {nouns[2]}"
    )
    return " ".join([text, *rest])
