"""Scenes of farmland, forest and viaducts: each function draws one and returns sentences about it with their weights."""

from __future__ import annotations

from rsopt.data.generated.canvas import GROUNDS, WATERS, Canvas, curve
from rsopt.data.generated.objects import across, car, cover, field, house, river, road, woods
from rsopt.data.generated.phrases import AROUND, Frames, be, counted

ROOFS = ("red", "grey", "white", "blue")


def farmland(canvas: Canvas) -> Frames:
    """One to four fields of one or two colours, with a road or a house."""
    rng = canvas.rng
    count = rng.randint(1, 4)
    colours = rng.sample(("green", "yellow", "brown"), 1 if count == 1 else rng.randint(1, 2))
    boxes = {
        1: [(0.0, 0.0, 1.0, 1.0)],
        2: [(0.0, 0.0, 0.49, 1.0), (0.51, 0.0, 1.0, 1.0)],
        3: [(0.0, 0.0, 0.49, 0.49), (0.51, 0.0, 1.0, 0.49), (0.0, 0.51, 1.0, 1.0)],
        4: [(0.0, 0.0, 0.49, 0.49), (0.51, 0.0, 1.0, 0.49), (0.0, 0.51, 0.49, 1.0), (0.51, 0.51, 1.0, 1.0)],
    }[count]
    canvas.rectangle((0, 0, 1, 1), (150, 140, 100), "soil")
    for i, box in enumerate(boxes):
        field(canvas, box, colours[i % len(colours)], rng.random() < 0.5)
    extra = rng.choice(("road", "house", "trees", ""))
    if extra == "road":
        road(canvas, across(canvas, rng.random() < 0.5, rng.choice((0.12, 0.88))), 0.12)
    elif extra == "house":
        house(canvas, rng.choice((0.2, 0.8)), rng.choice((0.2, 0.8)), 0.19, 0.16, 0, "red")
    elif extra == "trees":
        woods(canvas, rng.choice(((0, 0, 0.16, 1), (0.84, 0, 1, 1), (0, 0, 1, 0.16))))
    kind = " and ".join(colours)
    pieces = f"a piece of {kind} farmland" if count == 1 else f"{counted(count, 'piece')} of {kind} farmland"
    near = {"road": " near a road", "house": " near a red house", "trees": " near some green trees", "": ""}[extra]
    return [
        (6, f"{pieces} {be(count)} arranged neatly{near}" if count > 1 else f"it is {pieces}{near}"),
        (2, f"there {be(count)} {pieces}{near}"),
        (1, f"{pieces} {be(count)} together{near}" if count > 1 else f"{kind} farmland is in rows{near}"),
        (1, f"{kind} farmlands with many stripes are in this picture"),
        (1, f"the {kind} farmland is divided into {'one part' if count == 1 else f'{pieces.split()[0]} parts'}{near}"),
    ]


def forest(canvas: Canvas) -> Frames:
    """Dense trees, dark or light, with a road, a river, a pond or a house in them."""
    rng = canvas.rng
    dark, inside = rng.random() < 0.5, rng.choice(("", "road", "river", "pond", "house", "bare"))
    canvas.rectangle((0, 0, 1, 1), canvas.shade(GROUNDS["wood"], 0.7 if dark else 1.2), "tree")
    woods(canvas, (0, 0, 1, 1), 0.095, dark)
    water = rng.choice(("blue", "green"))
    bend = rng.uniform(0.04, 0.1)
    if inside == "road":
        road(canvas, across(canvas, rng.random() < 0.5, rng.uniform(0.35, 0.65), bend), 0.1)
    elif inside == "river":
        river(canvas, across(canvas, rng.random() < 0.5, rng.uniform(0.35, 0.65), bend), 0.15, water)
    elif inside == "pond":
        canvas.ellipse(rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65), 0.18, 0.15, canvas.shade(WATERS[water]), "water")
    elif inside == "house":
        house(canvas, rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), 0.2, 0.17, 0, "red")
    elif inside == "bare":
        canvas.ellipse(rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65), 0.2, 0.16, canvas.shade(GROUNDS["soil"]), "soil")
    tone = "dark green" if dark else "green"
    what = {
        "road": "a curved road",
        "river": f"a {water} river",
        "pond": f"a {water} pond",
        "house": "a red house",
        "bare": "a piece of bare land",
    }.get(inside, "")
    if inside in ("road", "river"):
        return [
            (6, f"{what} goes through a piece of {tone} forest"),
            (2, f"many {tone} trees are in two sides of {what}"),
            (1, f"there is {what} in the {tone} forest"),
            (1, f"{what} is surrounded by a piece of {tone} forest"),
            (1, f"it is a {tone} forest with {what} in it"),
        ]
    if inside:
        return [
            (6, f"{what} is in the middle of a piece of {tone} forest"),
            (2, f"{what} is surrounded by many {tone} trees in the forest"),
            (1, f"many {tone} trees are around {what}"),
            (1, f"there is {what} in the {tone} forest"),
            (1, f"it is a {tone} forest with {what} in it"),
        ]
    return [
        (6, f"many {tone} trees are in a piece of forest"),
        (2, f"it is a piece of {tone} forest with many trees"),
        (1, f"many {tone} trees form a piece of dense forest"),
        (1, f"the forest is full of {tone} trees"),
        (1, f"there are many {tone} trees in the dense forest"),
    ]


def viaduct(canvas: Canvas) -> Frames:
    """Raised roads that cross, with cars, and the surroundings."""
    rng = canvas.rng
    roads, around = rng.randint(2, 4), rng.choice(("trees", "meadow", "buildings", "bareland"))
    cars, colour = rng.choice((0, 2, 3, 4)), rng.choice(("red", "white", "yellow"))
    cover(canvas, (0, 0, 1, 1), around, rng.choice(ROOFS))
    lines = [
        across(canvas, True, 0.5),
        across(canvas, False, 0.5),
        curve((-0.05, -0.05), (1.05, 1.05), 0.0),
        curve((1.05, -0.05), (-0.05, 1.05), 0.0),
    ][:roads]
    for line in lines:
        canvas.band([(x + 0.02, y + 0.025) for x, y in line], 0.14, (66, 66, 64), "road")
        road(canvas, line, 0.115)
    for x, y, angle in rng.sample([(0.5, 0.12, 0), (0.5, 0.88, 0), (0.12, 0.5, 90), (0.88, 0.5, 90)], cars):
        car(canvas, x, y, 0.12, angle, colour)
    crossing = f"a viaduct with {counted(roads, 'crossed road')}"
    near = AROUND[around]
    frames = [
        (6.0, f"{crossing} is surrounded by {near}"),
        (2.0, f"{near} {'is' if around == 'bareland' else 'are'} around {crossing}"),
        (1.0, f"{crossing} is near {near}"),
        (1.0, f"there are {counted(roads, 'road')} in the viaduct near {near}"),
        (1.0, f"it is {crossing}"),
    ]
    if cars:
        frames.insert(0, (7.0, f"{counted(cars, 'car', colour)} are on {crossing} near {near}"))
    return frames
