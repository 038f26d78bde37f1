"""Scenes of land and water: each function draws one and returns what annotators would write about it."""

from __future__ import annotations

from rsopt.data.draw import GROUNDS, WATERS, Canvas, apart, curve, grid
from rsopt.data.phrases import AROUND, Frames, be, counted
from rsopt.data.things import across, boat, car, cover, field, ground, house, river, road, tree, woods

ROOFS = ("red", "grey", "white", "blue")


def _sides(canvas: Canvas, upright: bool, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Cover the two halves of the picture; the same kind on both sides half of the time."""
    rng = canvas.rng
    first = rng.choice(kinds)
    second = first if rng.random() < 0.5 else rng.choice(kinds)
    halves = ((0, 0, 0.5, 1), (0.5, 0, 1, 1)) if upright else ((0, 0, 1, 0.5), (0, 0.5, 1, 1))
    roof = rng.choice(ROOFS)
    cover(canvas, halves[0], first, roof)
    cover(canvas, halves[1], second, roof)
    return first, second


def _along(first: str, second: str, what: str) -> str:
    """The sentence for what lies on the sides of `what`."""
    if first == second:
        return f"{AROUND[first]} {'is' if first == 'bareland' else 'are'} in two sides of {what}"
    return f"{AROUND[first]} and {AROUND[second]} are in two sides of {what}"


def beach(canvas: Canvas) -> Frames:
    """Sea, a strip of sand, and land on the other side, with boats or surf."""
    rng = canvas.rng
    water, land = rng.choice(("blue", "green")), rng.choice(("trees", "buildings", "bareland", "meadow"))
    sand, boats, surf = rng.choice(("yellow", "white")), rng.choice((0, 0, 1, 2, 3)), rng.random() < 0.5
    cover(canvas, (0, 0, 1, 1), land, rng.choice(ROOFS))
    upright, flipped = rng.random() < 0.5, rng.random() < 0.5
    line = across(canvas, upright, 0.42, rng.uniform(0.02, 0.06))
    far = (1.2, 0.5) if upright else (0.5, 1.2)
    edges = [(1.2, 1.2), (1.2, -0.2)] if upright else [(1.2, 1.2), (-0.2, 1.2)]

    def place(x: float, y: float) -> tuple[float, float]:
        return (1 - x, 1 - y) if flipped else (x, y)

    tone = GROUNDS["sand"] if sand == "yellow" else (240, 234, 222)
    shift = (lambda x, y, d: (x + d, y)) if upright else (lambda x, y, d: (x, y + d))
    for offset, fill, thing in ((-0.12, tone, "sand"), (0.1, (244, 246, 244), "water"), (0.1 + 0.05 * surf, WATERS[water], "water")):
        shore = [place(*shift(x, y, offset)) for x, y in line]
        canvas.polygon(shore + [place(x, y) for x, y in edges], canvas.shade(fill), thing)
    box = (0.68, 0.1, 0.92, 0.9) if upright else (0.1, 0.68, 0.9, 0.92)
    for x, y in apart(rng, box, boats, 0.26):
        boat(canvas, *place(x, y), 0.17, rng.choice((0, 90, 30)), "white")
    del far
    sea = f"{water} ocean" + (" with white waves" if surf else "")
    edge = {"trees": "green trees", "buildings": "many buildings", "bareland": "bare land", "meadow": "green meadows"}[land]
    frames = [
        (6.0, f"a {sand} beach is between a piece of {sea} and {edge}"),
        (2.0, f"{edge} {be(1 if land == 'bareland' else 2)} near a {sand} beach and a piece of {water} ocean"),
        (1.0, f"{sand} beach is near {sea}"),
        (1.0, f"a piece of {sea} is near the {sand} beach"),
        (1.0, f"the {sand} beach is beside {edge}"),
    ]
    if boats:
        frames.insert(0, (7.0, f"{counted(boats, 'white boat')} {be(boats)} in {water} ocean near a {sand} beach with {edge}"))
    return frames


def bridge(canvas: Canvas) -> Frames:
    """One or two bridges over a river, cars on them, its banks."""
    rng = canvas.rng
    upright, water = rng.random() < 0.5, rng.choice(("blue", "green", "brown"))
    first, second = _sides(canvas, upright, ("trees", "buildings", "meadow", "bareland"))
    river(canvas, across(canvas, upright), rng.uniform(0.34, 0.44), water)
    count, cars = rng.randint(1, 2), rng.choice((0, 0, 1, 2, 3))
    colour = rng.choice(("red", "white", "black"))
    places = (rng.uniform(0.4, 0.6),) if count == 1 else (rng.uniform(0.22, 0.3), rng.uniform(0.7, 0.78))
    for at in places:
        road(canvas, across(canvas, not upright, at), 0.14)
    for share in sorted(rng.sample((0.14, 0.38, 0.62, 0.86), cars)):
        x, y = (share, places[0]) if upright else (places[0], share)
        car(canvas, x, y, 0.13, 90 if upright else 0, colour)
    what = f"a {water} river with {counted(count, 'bridge')} over it"
    bridges = counted(count, "bridge")
    frames = [
        (6.0, _along(first, second, what)),
        (2.0, f"{bridges} {be(count)} over a {water} river with {AROUND[first]} in one side"),
        (1.0, f"{bridges} {be(count)} on a {water} river near {AROUND[second]}"),
        (1.0, f"there {be(count)} {bridges} across the {water} river"),
        (1.0, f"a {water} river is under {bridges}"),
    ]
    if cars:
        frames.insert(0, (7.0, f"{counted(cars, 'car', colour)} {be(cars)} on {'the' if count == 1 else 'one of the two'} bridge{'s' * (count > 1)} over a {water} river"))
    return frames


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
        "road": "a curved road", "river": f"a {water} river", "pond": f"a {water} pond", "house": "a red house", "bare": "a piece of bare land",
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


def pond(canvas: Canvas) -> Frames:
    """One or two ponds, round or rectangular, their colour, what is around, an island."""
    rng = canvas.rng
    count, shape, water = rng.choice((1, 1, 2)), rng.choice(("round", "rectangular")), rng.choice(tuple(WATERS))
    around, island = rng.choice(("trees", "buildings", "meadow", "bareland")), False
    cover(canvas, (0, 0, 1, 1), around, rng.choice(ROOFS))
    places = [(0.5, 0.5, 0.32)] if count == 1 else [(0.27, rng.uniform(0.3, 0.7), 0.2), (0.74, rng.uniform(0.3, 0.7), 0.2)]
    for x, y, r in places:
        for grow, fill in ((1.14, (206, 198, 170)), (1.0, WATERS[water])):
            if shape == "round":
                canvas.ellipse(x, y, r * grow, r * grow, canvas.shade(fill), "water")
            else:
                canvas.block(x, y, 2 * r * grow, 1.7 * r * grow, 0, canvas.shade(fill), "water")
    if count == 1 and rng.random() < 0.4:
        island = True
        tree(canvas, 0.5, 0.5, 0.09)
    ponds = counted(count, f"{shape} pond", f"{water}")
    with_ = " with a small island" if island else ""
    return [
        (6, f"{ponds}{with_} {be(count)} surrounded by {AROUND[around]}"),
        (2, f"{AROUND[around]} {'is' if around == 'bareland' else 'are'} around {ponds}{with_}"),
        (1, f"there {be(count)} {ponds} near {AROUND[around]}"),
        (1, f"the water in the {shape} pond{'s' * (count > 1)} is {water}"),
        (1, f"{ponds} {be(count)} near {AROUND[around]}"),
    ]


def port(canvas: Canvas) -> Frames:
    """Boats beside a pier, the colour of boats and water, buildings or a road on the shore."""
    rng = canvas.rng
    count, colour, water = rng.randint(1, 5), rng.choice(("white", "red", "yellow", "black")), rng.choice(("blue", "green"))
    shore, roof = rng.choice(("buildings", "road", "trees")), rng.choice(ROOFS)
    canvas.rectangle((0, 0, 1, 1), canvas.shade(WATERS[water]), "water")
    cover(canvas, (0, 0, 1, 0.24), "trees" if shore == "trees" else "buildings" if shore == "buildings" else "meadow", roof)
    if shore == "road":
        road(canvas, across(canvas, False, 0.14), 0.12)
    canvas.rectangle((0, 0.22, 1, 0.27), (202, 200, 190), "concrete")
    canvas.rectangle((0.47, 0.25, 0.53, 0.9), (202, 200, 190), "concrete")
    cells = [(0.27, 0.4), (0.73, 0.4), (0.27, 0.62), (0.73, 0.62), (0.27, 0.84), (0.73, 0.84)]
    for x, y in rng.sample(cells, count if count < 5 else 6):
        boat(canvas, x + rng.uniform(-0.03, 0.03), y, 0.3, 90 if x < 0.5 else 270, colour)
    boats = counted(count, "boat", colour)
    edge = {"buildings": f"many {roof} buildings", "road": "a road", "trees": "many green trees"}[shore]
    return [
        (6, f"{boats} {be(count)} in a port with {water} water near {edge}"),
        (2, f"{boats} {be(count)} docked in the port beside {edge}"),
        (1, f"a port with {boats} is near {edge}"),
        (1, f"there {be(count)} {boats} in the {water} water of a port"),
        (1, f"{edge} {'is' if shore == 'road' else 'are'} near a port with {boats}"),
    ]


def river_scene(canvas: Canvas) -> Frames:
    """A river, straight or curved, its colour, its two banks."""
    rng = canvas.rng
    upright, water = rng.random() < 0.5, rng.choice(("blue", "green", "brown"))
    first, second = _sides(canvas, upright, ("trees", "buildings", "farmland", "meadow", "bareland"))
    curved = rng.random() < 0.5
    river(canvas, across(canvas, upright, 0.5, rng.uniform(0.1, 0.16) if curved else 0.0), rng.uniform(0.2, 0.3), water)
    boats = rng.choice((0, 0, 0, 1, 2))
    for share in rng.sample((0.2, 0.5, 0.8), boats):
        boat(canvas, *((0.5, share) if upright else (share, 0.5)), 0.16, 0 if upright else 90, "white")
    what = f"a {'curved' if curved else 'straight'} {water} river"
    tail = f" with {counted(boats, 'white boat')}" if boats else ""
    return [
        (6, _along(first, second, what + tail)),
        (2, f"{what}{tail} is between {AROUND[first]} and {AROUND[second]}"),
        (1, f"{what}{tail} is near {AROUND[first]}"),
        (1, f"there is {what}{tail} in this picture"),
        (1, f"the {water} river goes through {AROUND[first]}"),
    ]


def viaduct(canvas: Canvas) -> Frames:
    """Raised roads that cross, cars on them, what is around."""
    rng = canvas.rng
    roads, around = rng.randint(2, 4), rng.choice(("trees", "meadow", "buildings", "bareland"))
    cars, colour = rng.choice((0, 2, 3, 4)), rng.choice(("red", "white", "yellow"))
    cover(canvas, (0, 0, 1, 1), around, rng.choice(ROOFS))
    lines = [
        across(canvas, True, 0.5), across(canvas, False, 0.5), curve((-0.05, -0.05), (1.05, 1.05), 0.0), curve((1.05, -0.05), (-0.05, 1.05), 0.0)
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


__all__ = ["beach", "bridge", "farmland", "forest", "pond", "port", "river_scene", "viaduct"]
_ = (grid, ground)
