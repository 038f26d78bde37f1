"""Scenes of water: each function draws one and returns sentences about it with their weights."""

from __future__ import annotations

from rsopt.data.generated.canvas import GROUNDS, WATERS, Canvas, apart
from rsopt.data.generated.objects import across, boat, car, cover, river, road, tree
from rsopt.data.generated.phrases import AROUND, Frames, be, counted

ROOFS = ("red", "grey", "white", "blue")


def _sides(canvas: Canvas, upright: bool, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Cover the two halves of the image, with the same kind on both sides half of the time; returns the kinds."""
    rng = canvas.rng
    first = rng.choice(kinds)
    second = first if rng.random() < 0.5 else rng.choice(kinds)
    halves = ((0, 0, 0.5, 1), (0.5, 0, 1, 1)) if upright else ((0, 0, 1, 0.5), (0, 0.5, 1, 1))
    roof = rng.choice(ROOFS)
    cover(canvas, halves[0], first, roof)
    cover(canvas, halves[1], second, roof)
    return first, second


def _along(first: str, second: str, what: str) -> str:
    """The sentence for the two sides of `what`."""
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
    edges = [(1.2, 1.2), (1.2, -0.2)] if upright else [(1.2, 1.2), (-0.2, 1.2)]

    def place(x: float, y: float) -> tuple[float, float]:
        return (1 - x, 1 - y) if flipped else (x, y)

    tone = GROUNDS["sand"] if sand == "yellow" else (240, 234, 222)
    foam = (244, 246, 244)
    for shift, fill, thing in ((-0.12, tone, "sand"), (0.1, foam, "water"), (0.1 + 0.05 * surf, WATERS[water], "water")):
        shore = [place(x + shift, y) if upright else place(x, y + shift) for x, y in line]
        canvas.polygon(shore + [place(x, y) for x, y in edges], canvas.shade(fill), thing)
    box = (0.68, 0.1, 0.92, 0.9) if upright else (0.1, 0.68, 0.9, 0.92)
    for x, y in apart(rng, box, boats, 0.26):
        boat(canvas, *place(x, y), 0.17, rng.choice((0, 90, 30)), "white")
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
    """One or two bridges over a river, with cars, and its banks."""
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
        where = "the bridge" if count == 1 else "one of the two bridges"
        frames.insert(0, (7.0, f"{counted(cars, 'car', colour)} {be(cars)} on {where} over a {water} river"))
    return frames


def pond(canvas: Canvas) -> Frames:
    """One or two round or rectangular ponds, the surroundings, sometimes an island."""
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
    """Boats beside a pier, and buildings, trees or a road on the shore."""
    rng = canvas.rng
    count, colour, water = (rng.randint(1, 5), rng.choice(("white", "red", "yellow", "black")), rng.choice(("blue", "green")))
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
    """A straight or curved river and its two banks."""
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
