"""Words for what a scene shows, in the manner of RSICD's annotators: numbers, surroundings, and their slips."""

from __future__ import annotations

from random import Random

Frames = list[tuple[float, str]]  # (how often annotators would write it, the sentence without its " .")

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
    """`a red car`, `two red cars`, from five on `many red cars`."""
    words = f"{colour} {noun}".strip()
    if count == 1:
        return f"{'an' if words[0] in 'aeio' else 'a'} {words}"
    return f"{NUMBERS[count] if count < len(NUMBERS) else 'many'} {words}s"


def be(count: int) -> str:
    """`is` or `are`."""
    return "is" if count == 1 else "are"


def varied(sentence: str, rng: Random) -> str:
    """The sentence with an occasional synonym, as another annotator would put it."""
    for old, new in _SWAPS:
        if old in sentence and rng.random() < 0.08:
            sentence = sentence.replace(old, rng.choice(new), 1)
    return sentence


def slipped(raw: str, rng: Random) -> str:
    """The finished caption with a rare slip: a double space in 2 %, a misspelt word in 1 % of them."""
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
