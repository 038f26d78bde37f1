"""Phrases for captions in the style of RSICD's annotators: numbers, surroundings, synonyms and slips."""

from __future__ import annotations

from random import Random

Frames = list[tuple[float, str]]  # (relative frequency, sentence without its " .")

NUMBERS = ("no", "a", "two", "three", "four")
AROUND = {
    "trees": "many green trees",
    "buildings": "many buildings",
    "meadow": "green meadows",
    "bareland": "bare land",
    "farmland": "some farmlands",
}
_SWAPS = (
    (" near ", (" next to ", " beside ", " close to ")),
    ("many ", ("lots of ", "a lot of ", "plenty of ")),
    ("some ", ("several ", "a few ")),
    (" two sides ", (" both sides ",)),
    (" is surrounded by ", (" is encircled by ", " is enclosed by ")),
    (" with ", (" which has ",)),
    ("a piece of ", ("a large piece of ", "an area of ")),
)
# Rare words: an adjective before a noun, or a clause at the end.
_MODIFIERS = (
    ("trees", ("lush", "tall", "luxuriant", "leafy", "thick", "shady", "scattered", "flourishing", "verdant", "low")),
    ("buildings", ("tall", "low", "neat", "residential", "crowded", "modern", "ordinary", "shabby", "beautiful", "square")),
    ("houses", ("small", "pretty", "uniform", "detached", "cosy", "similar", "wooden", "luxurious")),
    ("planes", ("big", "passenger", "parallel", "idle", "commercial", "huge")),
    ("cars", ("parked", "moving", "shiny", "small", "tiny", "private")),
    ("boats", ("small", "fishing", "sailing", "anchored", "slender", "fast")),
    ("road", ("wide", "narrow", "busy", "smooth", "asphalt", "main", "paved")),
    ("river", ("wide", "calm", "muddy", "narrow", "deep", "slow", "winding")),
    ("ocean", ("vast", "calm", "clear", "quiet", "endless")),
    ("beach", ("clean", "narrow", "sandy", "sunny", "beautiful")),
    ("pond", ("still", "shallow", "quiet", "artificial", "clear")),
    ("forest", ("thick", "vast", "old", "gloomy", "quiet")),
    ("meadows", ("flat", "wide", "lush", "smooth", "empty")),
    ("land", ("open", "dry", "dusty", "empty", "barren")),
    ("farmland", ("fertile", "flat", "rectangular", "ploughed", "wide")),
    ("stadium", ("huge", "magnificent", "big", "modern", "grand")),
    ("playground", ("big", "standard", "new", "empty", "school")),
    ("tanks", ("big", "cylindrical", "oil", "similar", "huge")),
    ("bridge", ("long", "concrete", "straight", "solid", "wide")),
    ("viaduct", ("complicated", "huge", "busy", "grand", "winding")),
    ("terminal", ("long", "spacious", "modern", "huge")),
    ("courts", ("small", "neat", "outdoor", "adjacent")),
    ("pool", ("small", "clear", "private", "outdoor")),
)
_CLAUSES = (
    "in this picture",
    "here",
    "in the city",
    "in the countryside",
    "at the edge of a town",
    "in the suburbs",
    "on a sunny day",
)
_TYPOS = (
    ("surrounded", "surronded"),
    ("buildings", "buidings"),
    ("residential", "residental"),
    ("piece", "peice"),
    ("planes", "palnes"),
    ("bridge", "brige"),
    ("green", "gree"),
)


def counted(count: int, noun: str, colour: str = "") -> str:
    """Return `a red car`, `two red cars`, and from five on `many red cars`."""
    words = f"{colour} {noun}".strip()
    if count == 1:
        return f"{'an' if words[0] in 'aeio' else 'a'} {words}"
    return f"{NUMBERS[count] if count < len(NUMBERS) else 'many'} {words}s"


def be(count: int) -> str:
    """Return `is` or `are`."""
    return "is" if count == 1 else "are"


def varied(sentence: str, rng: Random) -> str:
    """Replace words by synonyms now and then, as another annotator would write."""
    for old, new in _SWAPS:
        if old in sentence and rng.random() < 0.08:
            sentence = sentence.replace(old, rng.choice(new), 1)
    for noun, adjectives in _MODIFIERS:
        if f" {noun}" in sentence and rng.random() < 0.05:
            sentence = sentence.replace(f" {noun}", f" {rng.choice(adjectives)} {noun}", 1)
    return f"{sentence} {rng.choice(_CLAUSES)}" if rng.random() < 0.02 else sentence


def slipped(raw: str, rng: Random) -> str:
    """Finish the caption, with a rare slip: a double space in 2 %, a misspelt word in 1 %."""
    draw = rng.random()
    if draw < 0.02:
        spaces = [i for i, letter in enumerate(raw) if letter == " "]
        at = rng.choice(spaces)
        return raw[:at] + " " + raw[at:]
    if draw < 0.035:
        for right, wrong in rng.sample(_TYPOS, len(_TYPOS)):
            if right in raw:
                return raw.replace(right, wrong, 1)
    return raw
