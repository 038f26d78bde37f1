"""The words of the sentences: places, things, doings, and what belongs together in the world."""

from __future__ import annotations

PLACES = (
    "airport", "beach", "bridge", "farmland", "forest", "playground", "pond", "port", "river", "stadium", "viaduct", "factory",
    "parking lot", "residential area", "dense residential area", "sparse residential area", "medium residential area",
    "basketball court", "football field", "swimming pool", "meadow", "terminal", "runway", "ocean", "road", "track", "island",
    "piece of land", "piece of forest", "piece of farmland", "open area", "village", "town", "park", "square", "school",
    "storage tank", "pier", "lake", "hill", "garden", "market", "curved river", "straight road", "long building", "crossed road",
)  # fmt: skip
CROWDS = (
    "trees", "green trees", "dark green trees",
    "buildings", "houses", "planes", "cars", "boats", "storage tanks", "roads",
    "crossed roads", "meadows", "farmlands", "swimming pools", "basketball courts",
    "white waves", "fields", "roofs", "stripes", "plants", "people",
    "bridges", "ponds", "tanks", "rows of cars", "pieces of farmland", "courts", "birds", "shops", "lamps", "trucks", "rivers",
)  # fmt: skip
STUFF = (
    "bare land",
    "water",
    "sand",
    "grass",
    "green grass",
    "concrete ground",
    "grey ground",
    "white sand",
    "blue water",
    "bare ground",
    "forest",
)
COLOURS = (
    "white",
    "red",
    "blue",
    "yellow",
    "grey",
    "black",
    "orange",
    "brown",
    "green",
    "dark green",
    "purple",
    "colorful",
    "bare",
)
SIZES = (
    "small",
    "large",
    "long",
    "big",
    "old",
    "new",
    "round",
    "rectangular",
    "oval",
    "straight",
    "curved",
    "dense",
    "quiet",
    "open",
    "neat",
)
MANY = (
    "many",
    "some",
    "two",
    "three",
    "four",
    "five",
    "several",
    "a few",
    "lots of",
    "a lot of",
    "plenty of",
    "no",
    "most",
    "all the",
)
PLACED = (
    "near", "beside", "next to", "close to", "in", "on", "around", "in the middle of", "in two sides of", "on both sides of",
    "in one side of", "at the end of", "behind", "between", "under", "over", "across", "through", "along", "in front of",
)  # fmt: skip
DONE = (
    "parked", "arranged neatly", "built", "surrounded by", "docked", "stopped", "divided into two parts", "planted", "found",
    "seen", "arranged densely", "painted", "encircled by", "enclosed by", "crowded", "kept", "parked neatly",
)  # fmt: skip
PEOPLE = ("we", "they", "the workers", "the children", "my friends", "the farmers", "she", "he", "the pilots", "the students")
VERBS = ("saw", "found", "liked", "painted", "built", "visited", "remembered", "looked for", "talked about", "wanted", "counted")
TIMES = (
    "yesterday",
    "in the morning",
    "last year",
    "every day",
    "in summer",
    "after the rain",
    "at night",
    "for a long time",
    "again",
)
# What belongs together in the world: place, what is found there, what happens to it, what is next to it
LORE: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    ("airport", ("plane",), ("parked", "stopped"), ("terminal", "runway", "long building", "grey ground", "meadow")),
    ("factory", ("storage tank",), ("built", "painted"), ("road", "trees", "bare ground", "buildings", "concrete ground")),
    ("parking lot", ("car", "row of cars"), ("parked neatly", "parked"), ("building", "trees", "road", "stadium")),
    (
        "playground",
        ("basketball court", "track", "football field"),
        ("built", "painted"),
        ("school", "trees", "track", "buildings"),
    ),
    ("stadium", ("football field", "round roof", "seat"), ("built", "seen"), ("parking lot", "trees", "buildings", "meadow")),
    (
        "dense residential area",
        ("building", "house", "roof", "road"),
        ("arranged densely", "crowded"),
        ("road", "crossed roads", "trees"),
    ),
    (
        "medium residential area",
        ("house", "swimming pool", "roof"),
        ("arranged neatly", "built"),
        ("road", "trees", "crossed roads"),
    ),
    (
        "sparse residential area",
        ("building", "swimming pool"),
        ("built", "surrounded by trees"),
        ("meadow", "bare land", "trees", "road"),
    ),
    ("beach", ("wave", "boat", "tree"), ("seen", "found"), ("ocean", "blue ocean", "green ocean", "white sand", "buildings")),
    ("river", ("bridge", "boat", "tree"), ("built", "seen"), ("trees", "meadow", "farmlands", "buildings", "bare land")),
    ("bridge", ("car", "road"), ("seen", "stopped"), ("river", "green river", "brown river", "trees")),
    (
        "farmland",
        ("stripe", "piece of farmland", "field"),
        ("arranged neatly", "planted", "divided into parts"),
        ("road", "house", "trees"),
    ),
    ("forest", ("tree", "pond", "road", "river"), ("planted", "seen"), ("river", "curved road", "bare land", "red house")),
    ("pond", ("tree", "small island"), ("planted", "found"), ("trees", "meadow", "buildings", "bare land")),
    ("port", ("boat",), ("docked", "stopped"), ("pier", "water", "road", "buildings")),
    ("viaduct", ("car", "crossed road", "road"), ("seen", "built"), ("trees", "meadow", "buildings", "bare land")),
)
