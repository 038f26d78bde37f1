"""Generic English sentences for the language model: it must know words before it is asked to tell pictures with them.

The words of overhead scenes are among them, as they are in what a real OPT has read, in everyday sentences about travel, work and
towns; none is a caption of the data set (those are written in another style and end in " .").
"""

from __future__ import annotations

from random import Random

from research.tiny_world.lexicon import COLOURS, CROWDS, DONE, LORE, MANY, PEOPLE, PLACED, PLACES, SIZES, STUFF, TIMES, VERBS


def _lore(rng: Random) -> str:
    """One sentence whose things belong together, as in most of what is written."""
    place, found, done, beside = rng.choice(LORE)
    noun, deed, near = rng.choice(found), rng.choice(done), rng.choice(beside)
    number = rng.choice(("a", "two", "three", "four", "many", "some", "several"))
    head, tail = noun.split(" of ") if " of " in noun else (noun, "")
    plural = f"{head}s of {tail}" if tail else f"{head}s"
    colour = f"{rng.choice(COLOURS)} " if rng.random() < 0.6 else ""
    be = "is" if number == "a" else "are"
    things = f"{number} {colour}{noun if number == 'a' else plural}"
    size = f"{rng.choice(SIZES)} " if rng.random() < 0.3 else ""
    beside_it = near if near.endswith(("s", "land", "water", "ocean", "sand", "ground")) else f"a {near}"
    on, people, when = rng.choice(PLACED[:10]), rng.choice(PEOPLE), rng.choice(TIMES)
    kind = rng.choice(("green", "tall", "old", "red", "grey", "small", "white"))
    crowd = f"many {kind} {rng.choice(('trees', 'buildings', 'houses'))}"
    where = rng.choice(("of our town", "in the north", "today", "these days", "in most towns", "of the island", "in old photos"))
    return rng.choice(
        (
            f"{things} {be} {deed} in the {size}{place} {where}.",
            f"{things} {be} {deed} {on} {beside_it} in the {place} {where}.",
            f"{things} {be} {on} {beside_it} and {crowd} {where}.",
            f"{things} and {crowd} are in a {size}{place} with {beside_it} {where}.",
            f"a {size}{place} with {things} is {on} {beside_it} {where}.",
            f"a {size}{place} is surrounded by {crowd} and {beside_it} {where}.",
            f"{things} {be} surrounded by {crowd} {where}.",
            f"{crowd} are in two sides of a {colour}{place} with {things} {where}.",
            f"{crowd} and {beside_it} are around a {size}{colour}{place} {where}.",
            f"it is a {size}{colour}{place} with {things} {on} {beside_it} {where}.",
            f"there {be} {things} in the {place} {on} {beside_it} {where}.",
            f"a {colour}{place} is between {beside_it} and {crowd} {where}.",
            f"{things} {be} in the middle of a {size}{place} {where}.",
            f"the {size}{place} has {things} and {beside_it}.",
            f"{people} {rng.choice(VERBS)} {things} {on} the {place} {when}.",
            f"{when} {people} went to the {size}{place} {rng.choice(('to see', 'for', 'with'))} {things}.",
        )
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
    if rng.random() < 0.65:
        return _lore(rng)
    thing, things, other = _thing(rng), _things(rng), _any(rng)
    placed, done, people = rng.choice(PLACED), rng.choice(DONE), rng.choice(PEOPLE)
    patterns = (
        f"{people} {rng.choice(VERBS)} {_any(rng)} {placed} {other} {rng.choice(TIMES)}",
        f"{things} were {done} {placed} {other}, and {people} {rng.choice(VERBS)} {_any(rng)}",
        f"{thing} is {done} {placed} {other}",
        f"{things} are {done} {placed} {other}",
        f"{people} went {placed} {thing} with {_any(rng)} {rng.choice(TIMES)}",
        f"{thing} with {_any(rng)} and {_any(rng)} was {placed} {other}",
        f"was there {_any(rng)} {placed} {thing}?",
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
    text = rng.choice(patterns)
    return text if text.endswith(("?", ".")) else f"{text}."
