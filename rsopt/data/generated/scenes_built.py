"""Scenes of buildings, transport and sport: each function draws one and returns sentences about it with their weights."""

from __future__ import annotations

from rsopt.data.generated.canvas import COLOURS, GROUNDS, Canvas, apart, grid
from rsopt.data.generated.objects import across, car, court, cover, ground, house, plane, pool, road, tank, track, tree, woods
from rsopt.data.generated.phrases import AROUND, Frames, be, counted

ROOFS = ("red", "grey", "white", "blue")


def airport(canvas: Canvas) -> Frames:
    """Planes on an apron, a terminal, and the surroundings."""
    rng = canvas.rng
    count, colour, roof = rng.randint(1, 5), rng.choice(("white", "white", "red", "blue", "yellow")), rng.choice(ROOFS)
    around = rng.choice(("meadow", "bareland"))
    cover(canvas, (0, 0, 1, 1), around)
    ground(canvas, (0.06, 0.3, 0.94, 0.94), "asphalt")
    terminal = rng.random() < 0.6
    if terminal:
        house(canvas, 0.5, 0.17, rng.uniform(0.6, 0.8), 0.17, 0, roof)
    heading = rng.choice((0, 45, 90, 180))
    rows = grid((0.1, 0.34, 0.9, 0.9), 0.28, rng, 0.05)
    for x, y in rng.sample(rows, count if count < 5 else 6):
        plane(canvas, x, y, 0.24, heading + rng.uniform(-8, 8), colour)
    land = "green meadows" if around == "meadow" else "bare land"
    planes = counted(count, "plane", colour)
    if terminal:
        return [
            (6, f"{planes} {be(count)} parked near a terminal with {roof} roof in the airport"),
            (2, f"an airport with {planes} and a {roof} terminal is near {land}"),
            (1, f"{planes} {be(count)} stopped beside a long {roof} building"),
            (1, f"there {be(count)} {planes} in the airport near a {roof} terminal"),
            (1, f"{planes} {be(count)} in an airport surrounded by {land}"),
        ]
    return [
        (6, f"{planes} {be(count)} parked in an open area surrounded by {land}"),
        (2, f"{planes} {be(count)} in the airport near {land}"),
        (1, f"an airport with {planes} is surrounded by {land}"),
        (1, f"there {be(count)} {planes} on the runway"),
        (1, f"{planes} {be(count)} stopped on the grey ground of an airport"),
    ]


def storagetanks(canvas: Canvas) -> Frames:
    """Round tanks beside a road or trees."""
    rng = canvas.rng
    count, colour = rng.randint(1, 5), rng.choice(("white", "white", "grey", "red", "blue"))
    around = rng.choice(("trees", "bareland", "meadow", "buildings"))
    cover(canvas, (0, 0, 1, 1), around, "grey")
    ground(canvas, (0.1, 0.1, 0.9, 0.74), "concrete")
    with_road = rng.random() < 0.5
    if with_road:
        road(canvas, across(canvas, False, 0.87), 0.11)
    cells = grid((0.12, 0.12, 0.88, 0.72), 0.29, rng, 0.04)
    radius = rng.uniform(0.1, 0.125)
    for x, y in rng.sample(cells, min(len(cells), count if count < 5 else 6)):
        tank(canvas, x, y, radius, colour)
    tanks = counted(count, "storage tank", colour)
    if with_road:
        return [
            (6, f"{tanks} {be(count)} near a road and {AROUND[around]}"),
            (2, f"a road is beside {tanks} surrounded by {AROUND[around]}"),
            (1, f"{tanks} {be(count)} on the bare ground near a straight road"),
            (1, f"there {be(count)} {tanks} beside the road"),
            (1, f"{AROUND[around]} are near {tanks} and a road" if around != "bareland" else f"{tanks} near a road"),
        ]
    return [
        (6, f"{tanks} {be(count)} surrounded by {AROUND[around]}"),
        (2, f"{tanks} {be(count)} in a factory near {AROUND[around]}"),
        (1, f"there {be(count)} {tanks} on the grey ground"),
        (1, f"a factory with {tanks} is near {AROUND[around]}"),
        (1, f"{tanks} {be(count)} built on a piece of concrete ground"),
    ]


def parking(canvas: Canvas) -> Frames:
    """Rows of cars, trees or a building beside them."""
    rng = canvas.rng
    rows, colour = rng.randint(1, 4), rng.choice(("white", "red", "blue", "black", ""))
    beside = rng.choice(("trees", "building", "road"))
    roof = rng.choice(ROOFS)
    ground(canvas, (0, 0, 1, 1), "asphalt")
    if beside == "trees":
        ground(canvas, (0, 0, 0.2, 1), "wood", "tree")
        woods(canvas, (0, 0, 0.2, 1))
    elif beside == "building":
        house(canvas, 0.1, 0.5, 0.2, 0.7, 0, roof)
    else:
        road(canvas, across(canvas, True, 0.1), 0.15)
    for row in range(rows):
        y = (row + 0.5) / rows
        for x, _ in grid((0.24, y, 0.98, y + 0.1), 0.105, rng, 0.04):
            one = colour or rng.choice(("white", "red", "blue", "black", "yellow"))
            car(canvas, x, y, 0.145, rng.choice((0, 180)), one)
    cars = f"many {colour or 'colorful'} cars"
    lines = counted(rows, "row") if rows > 1 else "one row"
    where = {"trees": "many green trees", "building": f"a {roof} building", "road": "a road"}[beside]
    return [
        (6, f"{cars} are parked in {lines} in the parking lot near {where}"),
        (2, f"{lines} of {colour or 'colorful'} cars are in a parking lot beside {where}"),
        (1, f"a parking lot with {cars} is next to {where}"),
        (1, f"{cars} are parked neatly in a parking lot"),
        (1, f"{where} {'are' if beside == 'trees' else 'is'} near a parking lot with {cars}"),
    ]


def playground(canvas: Canvas) -> Frames:
    """A running track, courts beside it, trees or buildings around."""
    rng = canvas.rng
    colour, courts = rng.choice(("red", "red", "blue", "orange", "grey")), rng.randint(0, 3)
    court_colour, around = (rng.choice(("blue", "red", "green")), rng.choice(("trees", "buildings", "meadow", "bareland")))
    cover(canvas, (0, 0, 1, 1), around, rng.choice(ROOFS))
    ground(canvas, (0.12, 0.06, 0.92 if courts else 0.66, 0.94), "concrete")
    bare = rng.random() < 0.3
    track(canvas, 0.38, 0.5, 0.42, 0.82, colour, GROUNDS["soil"] if bare else (92, 160, 80))
    for i in range(courts):
        court(canvas, 0.77, (i + 1) / (courts + 1), 0.2, 0.21, court_colour)
    inside = "bare" if bare else "green"
    ring = f"a {colour} track"
    near = f"{AROUND[around]} are" if around != "bareland" else "bare land is"
    if courts:
        which = counted(courts, "basketball court", court_colour)
        return [
            (6, f"a playground with {ring} is near {which} and {AROUND[around]}"),
            (2, f"{which} {be(courts)} next to a playground with {ring}"),
            (1, f"a {inside} football field and {which} {be(courts + 1)} surrounded by {AROUND[around]}"),
            (1, f"{near} near a playground with {which}"),
            (1, f"it is a playground with {ring} beside {which}"),
        ]
    return [
        (6, f"a {inside} football field with {ring} is surrounded by {AROUND[around]}"),
        (2, f"{near} around a playground with {ring}"),
        (1, f"a playground with {ring} is near {AROUND[around]}"),
        (1, f"it is a {inside} playground with {ring} around it"),
        (1, f"a playground is surrounded by {AROUND[around]}"),
    ]


def stadium(canvas: Canvas) -> Frames:
    """An oval or round stadium with coloured stands, and the surroundings."""
    rng = canvas.rng
    shape, colour = rng.choice(("oval", "round")), rng.choice(("white", "grey", "red", "blue", "orange"))
    around, lot = rng.choice(("trees", "meadow", "buildings")), rng.random() < 0.4
    cover(canvas, (0, 0, 1, 1), around, rng.choice(ROOFS))
    rx = 0.3 if shape == "oval" else 0.37
    canvas.ellipse(0.5, 0.46, rx + 0.05, 0.42, (206, 204, 196), "stadium")
    canvas.ellipse(0.5, 0.46, rx, 0.37, canvas.shade(COLOURS[colour]), "stadium")
    canvas.ellipse(0.5, 0.46, rx * 0.8, 0.37 * 0.8, canvas.shade(COLOURS[colour], 0.75), "stadium")
    canvas.ellipse(0.5, 0.46, rx * 0.55, 0.37 * 0.58, canvas.shade((92, 160, 80)), "stadium")
    canvas.mark("stadium", colour, 0.5, 0.46)
    if lot:
        canvas.rectangle((0, 0.86, 1, 1), canvas.shade(GROUNDS["asphalt"]), "asphalt")
        for x, y in grid((0, 0.87, 1, 0.99), 0.11, rng, 0.05):
            car(canvas, x, y, 0.11, 0, rng.choice(("white", "red", "blue", "black")))
    what = f"{'an' if shape == 'oval' else 'a'} {shape} {colour} stadium"
    near = "a parking lot" if lot else AROUND[around]
    return [
        (6, f"{what} is surrounded by {AROUND[around]}" + (" and a parking lot" if lot else "")),
        (2, f"{AROUND[around]} are around {what}"),
        (1, f"{what} with a green football field is near {near}"),
        (1, f"it is {what} near {near}"),
        (1, f"a green football field is in the middle of {what}"),
    ]


def _homes(canvas: Canvas, dense: bool) -> tuple[str, str]:
    """Draw houses on both sides of one or two roads; returns the roofs' colour and a phrase for the roads."""
    rng = canvas.rng
    roof, roads = rng.choice(ROOFS), rng.randint(1, 2)
    ground(canvas, (0, 0, 1, 1), "concrete" if dense else "grass")
    spacing, side = (0.155, 0.115) if dense else (0.27, 0.165)
    for x, y in grid((0, 0, 1, 1), spacing, rng, 0.06):
        if dense or rng.random() < 0.9:
            house(canvas, x, y, side * rng.uniform(0.9, 1.15), side * 0.85, rng.choice((0, 90)), roof)
        if not dense:
            tree(canvas, x + spacing * 0.48, y + spacing * 0.45, 0.06)
    upright = rng.random() < 0.5
    road(canvas, across(canvas, upright), 0.12)
    if roads == 2:
        road(canvas, across(canvas, not upright), 0.12)
    return roof, "a road" if roads == 1 else "two crossed roads"


def denseresidential(canvas: Canvas) -> Frames:
    """Crowded houses, one or two roads, sometimes a corner of trees or bare land."""
    roof, roads = _homes(canvas, dense=True)
    corner = canvas.rng.choice(("", "trees", "bareland"))
    if corner:
        x, y = canvas.rng.choice((0.0, 0.62)), canvas.rng.choice((0.0, 0.62))
        cover(canvas, (x, y, x + 0.38, y + 0.38), corner)
    houses = f"many {roof} buildings"
    extra = {"": "", "trees": " and some green trees", "bareland": " and a piece of bare land"}[corner]
    return [
        (6, f"{houses}{extra} are in a dense residential area with {roads}"),
        (2, f"{houses} are arranged densely in two sides of {roads}"),
        (1, f"it is a dense residential area with {houses}{extra}"),
        (1, f"{roads} {'goes' if roads == 'a road' else 'go'} through a dense residential area with {roof} roofs"),
        (1, f"lots of houses with {roof} roofs{extra} are in a residential area"),
    ]


def mediumresidential(canvas: Canvas) -> Frames:
    """Houses among trees, one or two roads, swimming pools."""
    rng = canvas.rng
    roof, roads = _homes(canvas, dense=False)
    pools = rng.randint(0, 3)
    for x, y in apart(rng, (0.12, 0.12, 0.88, 0.88), pools, 0.3):
        pool(canvas, x, y, 0.13)
    houses = f"some {roof} houses"
    water = f" and {counted(pools, 'swimming pool')}" if pools else ""
    return [
        (6, f"{houses} with green trees{water} are in two sides of {roads}"),
        (2, f"{houses} and many green trees{water} are in a medium residential area"),
        (1, f"it is a medium residential area with {roof} roofs and {roads}"),
        (1, f"{roads} {'is' if roads == 'a road' else 'are'} in a medium residential area with {houses}"),
        (1, f"green trees are around {houses}{water}"),
    ]


def sparseresidential(canvas: Canvas) -> Frames:
    """One to three houses far apart, trees, meadow or bare land around, a pool or a road."""
    rng = canvas.rng
    count, roof = rng.randint(1, 3), rng.choice(ROOFS)
    around, extra = rng.choice(("trees", "meadow", "bareland")), rng.choice(("road", "pool", "none"))
    cover(canvas, (0, 0, 1, 1), around)
    if extra == "road":
        road(canvas, across(canvas, False, 0.84, 0.03), 0.11)
    for x, y in apart(rng, (0.18, 0.16, 0.82, 0.62), count, 0.36):
        canvas.block(x, y, 0.32, 0.3, 0, canvas.shade(GROUNDS["grass"]), "grass")
        house(canvas, x, y, 0.2, 0.18, rng.choice((0, 90)), roof)
    if extra == "pool":
        pool(canvas, rng.uniform(0.2, 0.8), 0.85, 0.16)
    homes = counted(count, "building", roof)
    with_ = {"road": " near a road", "pool": " with a swimming pool", "none": ""}[extra]
    return [
        (6, f"{homes}{with_} {be(count)} surrounded by {AROUND[around]} in a sparse residential area"),
        (2, f"{AROUND[around]} {'is' if around == 'bareland' else 'are'} around {homes}{with_}"),
        (1, f"it is a sparse residential area with {homes}{with_}"),
        (1, f"{homes} {be(count)} near {AROUND[around]}"),
        (1, f"there {be(count)} {homes}{with_} in the sparse residential area"),
    ]
