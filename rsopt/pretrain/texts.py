"""Generic English sentences for the language model: it must know words before it is asked to tell pictures with them.

The words of overhead scenes are among them, as they are in what a real OPT has read, in everyday sentences about travel, work and
towns; none is a caption of the data set (those are written in another style and end in " .").
"""

from __future__ import annotations

from random import Random

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
PEOPLE = (
    "we",
    "they",
    "the workers",
    "the children",
    "my friends",
    "the farmers",
    "she",
    "he",
    "the pilots",
    "the students",
)
VERBS = (
    "saw",
    "found",
    "liked",
    "painted",
    "built",
    "visited",
    "remembered",
    "looked for",
    "talked about",
    "wanted",
    "counted",
)
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


def _thing(rng: Random) -> str:
    """A singular noun phrase."""
    words = [rng.choice(("a", "the", "the", "one", "this", "a"))]
    if rng.random() < 0.35:
        words.append(rng.choice(SIZES))
    if rng.random() < 0.35:
        words.append(rng.choice(COLOURS))
    words.append(rng.choice(PLACES))
    text = " ".join(words)
    return "an" + text[1:] if text.startswith("a ") and text[2] in "aeio" else text


def _things(rng: Random) -> str:
    """A plural noun phrase."""
    words = [rng.choice(MANY)]
    if rng.random() < 0.25:
        words.append(rng.choice(SIZES))
    if rng.random() < 0.45:
        words.append(rng.choice(COLOURS))
    return " ".join([*words, rng.choice(CROWDS)])


def _any(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.45:
        return _thing(rng)
    return _things(rng) if draw < 0.88 else rng.choice(STUFF)


def sentence(rng: Random) -> str:
    """One everyday sentence of 5 to 20 words, lower case, its period glued to the last word."""
    thing, things, other = _thing(rng), _things(rng), _any(rng)
    placed, done, people = rng.choice(PLACED), rng.choice(DONE), rng.choice(PEOPLE)
    patterns = (
        f"{people} {rng.choice(VERBS)} {_any(rng)} {placed} {other} {rng.choice(TIMES)}",
        f"{things} were {done} {placed} {other}, and {people} {rng.choice(VERBS)} {_any(rng)}",
        f"{thing} is {done} {placed} {other}",
        f"{things} are {done} {placed} {other}",
        f"{people} went {placed} {thing} with {_any(rng)} {rng.choice(TIMES)}",
        f"{thing} with {_any(rng)} and {_any(rng)} was {placed} {other}",
        f"was there {_any(rng)} {placed} {thing}? {people} {rng.choice(VERBS)} it {rng.choice(TIMES)}",
        f"there is {thing} {placed} {other}",
        f"there are {things} {placed} {other}",
        f"{thing} goes through {other}, so {people} {rng.choice(VERBS)} {_any(rng)}",
        f"it is {thing} which has {_any(rng)}",
        f"{rng.choice(TIMES)} {people} {rng.choice(VERBS)} {things} and {_any(rng)} together",
        f"{thing} is between {_any(rng)} and {_any(rng)}",
        f"the water in {thing} was {rng.choice(COLOURS)} {rng.choice(TIMES)}",
        f"{things} form {thing} that is full of {rng.choice(CROWDS)}",
        f"{people} said that {things} are {rng.choice(SIZES)} and {rng.choice(COLOURS)}",
    )
    end = "" if patterns[6] else "."
    text = rng.choice(patterns)
    return f"{text}{'.' if not text.endswith('?') else end}"
